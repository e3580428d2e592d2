// Threads that wait for calls to help with.
#pragma once

#include <functional>

namespace espalier {

// Run work(0) here and work(1) to work(helpers) on threads of the pool, as many as come before work(0) returns. False,
// and nothing is run, if the pool is helping another call.
bool run_with_helpers(int helpers, const std::function<void(int)>& work);

// Return when `done()`; it should be soon.
void wait_until(const std::function<bool()>& done);

}  // namespace espalier
