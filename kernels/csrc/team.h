// The threads of one call: they run the same function, share out its loops and wait for each other between them.
#pragma once

#include <immintrin.h>
#include <linux/futex.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
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
      phase_.store(now + 1, std::memory_order_seq_cst);
      if (sleepers_.load(std::memory_order_seq_cst) > 0) futex(FUTEX_WAKE_PRIVATE, INT_MAX);
      return;
    }
    for (int spins = 0; spins < SPINS; ++spins) {
      if (phase_.load(std::memory_order_acquire) != now) return;
      _mm_pause();
    }
    // The others are much later than they should be: one may be queued behind another process, and can have our core.
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (phase_.load(std::memory_order_seq_cst) == now) futex(FUTEX_WAIT_PRIVATE, now);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
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
  // About a tenth of a millisecond: longer than most phases, shorter than a time slice.
  static constexpr int SPINS = 8000;

  void futex(int operation, uint32_t value) { syscall(SYS_futex, &phase_, operation, value, nullptr, nullptr, 0); }

  // Apart from each other: one is read while the others change.
  alignas(64) std::atomic<uint32_t> phase_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<int> sleepers_{0};
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
