// Memory that starts at a cache line and is kept from call to call.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

namespace espalier {

class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  // At least this many bytes; what was there is lost if it has to grow.
  void reserve(int64_t bytes) {
    if (bytes <= size_) return;
    std::free(data_);
    size_ = (bytes + 63) / 64 * 64;
    data_ = std::aligned_alloc(64, static_cast<size_t>(size_));
    if (!data_) {
      size_ = 0;
      throw std::bad_alloc();
    }
  }

  void* data() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }

 private:
  void* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace espalier
