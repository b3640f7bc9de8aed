// What a WebAssembly job may import, and the few types it needs without a C library.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define CAPA_IMPORT(name) __attribute__((import_module("capa"), import_name(#name)))
#define CAPA_EXPORT(name) __attribute__((export_name(#name)))

/// Length of an input in bytes; -1 if there is no such input.
CAPA_IMPORT(input_length) i64 input_length(int index);

/// Copies at most `length` bytes of an input; returns how many, 0 past its end.
CAPA_IMPORT(input_read) int input_read(int index, i64 offset, void *to, u32 length);

/// Copies bytes to an output; returns 0. Traps beyond the declared length.
CAPA_IMPORT(output_write) int output_write(int index, i64 offset, const void *from, u32 length);
