// The library's face is plain C; everything else is hidden.
#pragma once

#define EXPORT extern "C" __attribute__((visibility("default")))
