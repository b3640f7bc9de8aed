;; The body of splitmix64 in a loop: integer arithmetic that depends on itself, and nothing else.
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32)
    (local $round i32) (local $state i64) (local $mixed i64) (local $sum i64)
    (loop $again
      (local.set $state (i64.add (local.get $state) (i64.const 0x9e3779b97f4a7c15)))
      (local.set $mixed
        (i64.mul
          (i64.xor (local.get $state) (i64.shr_u (local.get $state) (i64.const 30)))
          (i64.const 0xbf58476d1ce4e5b9)))
      (local.set $mixed
        (i64.mul
          (i64.xor (local.get $mixed) (i64.shr_u (local.get $mixed) (i64.const 27)))
          (i64.const 0x94d049bb133111eb)))
      (local.set $sum
        (i64.xor (local.get $sum) (i64.xor (local.get $mixed) (i64.shr_u (local.get $mixed) (i64.const 31)))))
      (br_if $again
        (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 100000000))))
    (i64.store (i32.const 0) (local.get $sum))
    (i32.const 0)))
