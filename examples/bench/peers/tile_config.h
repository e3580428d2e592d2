// Forced into llama.cpp's sources: GCC 12 declares that _tile_loadconfig reads 8 bytes of its 64, drops the stores to
// the others, and the program faults.
#pragma once

#ifdef __AMX_TILE__
#include <immintrin.h>

static inline void load_whole_tile_config(const void* config) {
  __asm__ volatile("" ::"r"(config) : "memory");
  _tile_loadconfig(config);
}
#define _tile_loadconfig load_whole_tile_config
#endif
