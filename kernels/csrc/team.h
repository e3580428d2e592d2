// The threads of one call: they run the same function, share out its loops and wait for each other between them.
#pragma once

#include <immintrin.h>
#include <omp.h>
#include <sched.h>

#include <atomic>
#include <cstdint>

namespace espalier {

class Team {
 public:
  // Known only inside the parallel region: OpenMP may grant fewer threads than were asked for.
  int size = 1;

  // Every thread arrives; all leave together, with the loop of the next phase at its start.
  void wait() {
    const uint32_t now = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      arrived_.store(0, std::memory_order_relaxed);
      next_.store(0, std::memory_order_relaxed);
      phase_.store(now + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; phase_.load(std::memory_order_acquire) == now; ++spins) {
      // Phases last microseconds; if one does not, its thread has lost its core and may need ours.
      if (spins < 20000) _mm_pause();
      else sched_yield();
    }
  }

  // Give out the items [0, count) of this phase one by one, to whichever thread is free.
  template <class Work>
  void share(int64_t count, Work work) {
    for (int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < count;
         i = next_.fetch_add(1, std::memory_order_relaxed)) {
      work(i);
    }
  }

  // Give out [0, count) in pieces of `step`: work(begin, end).
  template <class Work>
  void share_ranges(int64_t count, int64_t step, Work work) {
    share((count + step - 1) / step, [&](int64_t i) {
      const int64_t begin = i * step;
      work(begin, begin + step < count ? begin + step : count);
    });
  }

 private:
  // Apart from each other: one is read while the others change.
  alignas(64) std::atomic<uint32_t> phase_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int64_t> next_{0};
};

// Run body(team, index) on up to `threads` threads of the process's OpenMP pool.
template <class Body>
void parallel(int threads, Body body) {
  Team team;
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    team.size = omp_get_num_threads();
    body(team, omp_get_thread_num());
  }
}

}  // namespace espalier
