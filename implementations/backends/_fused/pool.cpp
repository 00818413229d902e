// A pool without barriers: whoever is awake takes the next piece. A thread that the system has set aside delays
// only the piece in its hands, so a busy machine costs little. Idle threads sleep after a moment of spinning.
#include "pool.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace fused {
namespace {

constexpr int SPINS = 2000;  // some ten microseconds: the pause between two phases of a step

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

struct Pool {
    std::mutex calling, mutex;
    std::condition_variable wake;
    std::vector<std::thread> threads;
    pid_t owner = getpid();

    // The work at hand; written under `mutex` while no helper is inside.
    Piece piece = nullptr;
    void* context = nullptr;
    int64_t wanted = 0;
    int64_t count = 0;
    std::atomic<int64_t> generation{0}, next{0}, inside{0};

    // `pieces` is read on the way in: `count` is cleared while the last piece may just have been taken.
    void take_pieces(int64_t pieces) {
        for (int64_t number; (number = next.fetch_add(1)) < pieces;) piece(context, number);
    }

    void help(int64_t index) {
        int64_t seen = 0;
        while (true) {
            for (int spin = 0; spin < SPINS && generation.load() == seen; ++spin) relax();
            std::unique_lock<std::mutex> lock(mutex);
            wake.wait(lock, [&] { return generation.load() != seen; });
            seen = generation.load();
            if (index >= wanted || next.load() >= count) continue;
            ++inside;
            const int64_t pieces = count;
            lock.unlock();
            take_pieces(pieces);
            --inside;
        }
    }

    void run(int64_t pieces, int64_t on_threads, Piece work, void* with) {
        std::lock_guard<std::mutex> one_at_a_time(calling);
        while ((int64_t)threads.size() < on_threads - 1) {
            const int64_t index = (int64_t)threads.size();
            try {
                threads.emplace_back([this, index] { help(index); });
            } catch (const std::system_error&) {
                break;  // the system gives no more: those that are there do it all
            }
            threads.back().detach();
        }
        {
            std::lock_guard<std::mutex> lock(mutex);
            piece = work, context = with, count = pieces, wanted = on_threads - 1;
            next = 0;
            ++generation;
        }
        wake.notify_all();
        take_pieces(pieces);
        {
            std::lock_guard<std::mutex> lock(mutex);
            count = 0;  // a helper that wakes late finds nothing
        }
        for (int spin = 0; inside.load() != 0;) {
            if (++spin < SPINS) relax();
            else std::this_thread::yield();
        }
    }
};

Pool& pool() {
    static Pool* current = new Pool;  // never destroyed: detached threads may outlive main
    if (current->owner != getpid()) current = new Pool;  // a fork leaves its threads behind
    return *current;
}

}  // namespace

void run_pieces(int64_t count, int64_t threads, Piece piece, void* context) {
    if (threads <= 1 || count <= 1) {
        for (int64_t number = 0; number < count; ++number) piece(context, number);
    } else {
        pool().run(count, threads, piece, context);
    }
}

}  // namespace fused
