// A helper is awake for a while after a call, since the next one mostly comes soon; then it sleeps until it is woken.
#include "pool.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>

namespace espalier {
namespace {

// In ticks of the time stamp counter, 2 to 4 to a nanosecond: a wait between two loops, and between two calls.
constexpr uint64_t LOOP_TICKS = 100'000;
constexpr uint64_t CALL_TICKS = 400'000;
// A wait that is longer has lost its partner to another process: its core is better given away, maybe to the partner.
constexpr timespec NAP = {0, 30'000};

template <class Done>
bool spin(uint64_t ticks, const Done& done) {
  const uint64_t begin = __rdtsc();
  do {
    for (int i = 0; i < 8; ++i) {
      if (done()) return true;
      _mm_pause();
    }
  } while (__rdtsc() - begin < ticks);
  return false;
}

class Pool {
 public:
  bool run(int helpers, const std::function<void(int)>& work) {
    const std::unique_lock<std::mutex> only(mutex_, std::try_to_lock);
    // After a fork the helpers are the parent's.
    if (!only.owns_lock() || process_ != getpid()) return false;
    start(helpers);
    work_ = &work;
    helpers_ = helpers;
    is_open_.store(true);
    calls_.fetch_add(1);
    if (sleepers_.load() > 0) futex(FUTEX_WAKE_PRIVATE, INT_MAX);
    work(0);
    is_open_.store(false);
    wait_until([&] { return inside_.load() == 0; });
    return true;
  }

 private:
  void start(int helpers) {
    try {
      for (; started_ < helpers; ++started_) std::thread([this, index = started_ + 1] { help(index); }).detach();
    } catch (const std::system_error&) {
      // No more threads to be had: those that there are do the work.
    }
  }

  // Either a helper sees that the call is closed, or who closed it sees that the helper is inside.
  void help(int index) {
    for (uint32_t seen = 0;;) {
      if (!spin(CALL_TICKS, [&] { return calls_.load() != seen; })) {
        sleepers_.fetch_add(1);
        while (calls_.load() == seen) futex(FUTEX_WAIT_PRIVATE, seen);
        sleepers_.fetch_sub(1);
      }
      seen = calls_.load();
      inside_.fetch_add(1);
      if (is_open_.load() && index <= helpers_) (*work_)(index);
      inside_.fetch_sub(1);
    }
  }

  void futex(int operation, uint32_t value) { syscall(SYS_futex, &calls_, operation, value, nullptr, nullptr, 0); }

  std::mutex mutex_;
  const pid_t process_ = getpid();
  int started_ = 0;
  // Written only while nobody is inside.
  const std::function<void(int)>* work_ = nullptr;
  int helpers_ = 0;
  alignas(64) std::atomic<uint32_t> calls_{0};
  alignas(64) std::atomic<bool> is_open_{false};
  alignas(64) std::atomic<int> inside_{0};
  alignas(64) std::atomic<int> sleepers_{0};
};

}  // namespace

bool run_with_helpers(int helpers, const std::function<void(int)>& work) {
  // Never destroyed: helpers run until the process ends.
  static Pool& pool = *new Pool;
  return pool.run(helpers, work);
}

void wait_until(const std::function<bool()>& done) {
  while (!spin(LOOP_TICKS, done)) nanosleep(&NAP, nullptr);
}

}  // namespace espalier
