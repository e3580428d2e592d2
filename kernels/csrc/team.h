// The threads of one call: they run the same function and share out its loops.
//
// A loop is over when its items are done, not when every thread has come by: a thread that lost its core between two
// loops holds nobody up, and finds the loops that it missed over. So threads may be fewer than asked for at any time.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "pool.h"

namespace espalier {

// What the threads of one call share. `place` is the number of the running loop and the next item of it.
struct Progress {
  alignas(64) std::atomic<uint64_t> place{0};
  alignas(64) std::atomic<int64_t> done{0};
};

// One thread's view of the call.
class Team {
 public:
  const int size;

  Team(Progress& progress, int threads) : size(threads), progress_(progress) {}

  // Do the items [0, count) of the next loop, with whoever is free, and return when all of them are done. Every thread
  // has to come with the same counts in the same order.
  template <class Work>
  void share(int64_t count, Work work) {
    if (size == 1) {
      for (int64_t i = 0; i < count; ++i) work(i);
      return;
    }
    if (count <= 0) return;
    const uint64_t loop = loop_++;
    uint64_t place = progress_.place.load(std::memory_order_acquire);
    while (place >> 32 == loop && index_of(place) < count) {
      if (!progress_.place.compare_exchange_weak(place, place + 1, std::memory_order_acq_rel)) continue;
      work(index_of(place));
      if (progress_.done.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
        progress_.done.store(0, std::memory_order_relaxed);
        progress_.place.store((loop + 1) << 32, std::memory_order_release);
        return;
      }
      place = progress_.place.load(std::memory_order_acquire);
    }
    wait_until([&] { return progress_.place.load(std::memory_order_acquire) >> 32 > loop; });
  }

  // Share out [0, count) in pieces of `step`: work(begin, end).
  template <class Work>
  void share_ranges(int64_t count, int64_t step, Work work) {
    share((count + step - 1) / step, [&](int64_t i) {
      const int64_t begin = i * step;
      work(begin, begin + step < count ? begin + step : count);
    });
  }

 private:
  static int64_t index_of(uint64_t place) { return static_cast<int64_t>(place & 0xffffffffu); }

  Progress& progress_;
  uint64_t loop_ = 0;
};

// Run body(team, index) on up to `threads` threads; returns when none of them is in it any more.
template <class Body>
void parallel(int threads, Body body) {
  Progress progress;
  threads = threads < 1 ? 1 : threads;
  const auto run = [&](int index, int size) {
    Team team(progress, size);
    body(team, index);
  };
  if (threads == 1 || !run_with_helpers(threads - 1, [&](int index) { run(index, threads); })) run(0, 1);
}

}  // namespace espalier
