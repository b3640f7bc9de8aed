-- How many GPUs of one worker a job needs.
ALTER TABLE jobs ADD COLUMN devices INTEGER NOT NULL DEFAULT 0;
