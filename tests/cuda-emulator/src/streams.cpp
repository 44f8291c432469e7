// What streams have been given to do, in libcuda_emulator.so. Without CUDA_EMULATOR_STREAMS=late everything is done when it is
// asked for. With it nothing is done before somebody waits for it, and then no more than has to be: so what is used before it is
// there, or changed while it is still read, shows.

#include "emulator.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

#include <unistd.h>

namespace cuda_emulator {

struct Stream {
    int card;
    unsigned flags;
    /// Given to do and not begun yet; `given` and `done` count what has been.
    std::deque<std::function<void()>> waiting;
    uint64_t given = 0;
    std::atomic<uint64_t> done{0};
};

namespace {

constexpr unsigned NON_BLOCKING = 1;
constexpr int STANDING = 2;

/// Held while the list of streams, and what they wait with, is looked at; never while something is done.
std::mutex queues;
/// Held by the thread that does things for a card. What it does may have to wait for another stream, and does that then.
std::recursive_mutex doing[MAX_CARDS];

struct Streams {
    std::vector<std::shared_ptr<Stream>> made;
    /// Destroyed while there was something left to do.
    std::vector<std::shared_ptr<Stream>> left;
    /// The null stream of each card, and the one of threads.
    std::shared_ptr<Stream> standing[MAX_CARDS][STANDING];
};
Streams &streams() {
    static auto *streams = new Streams;
    return *streams;
}

std::vector<std::shared_ptr<Stream>>::iterator find(void *handle) {
    auto &made = streams().made;
    return std::find_if(made.begin(), made.end(), [&](auto &stream) { return stream.get() == handle; });
}

std::shared_ptr<Stream> standing(int card, int which) {
    auto &stream = streams().standing[card][which];
    if (!stream) {
        stream = std::make_shared<Stream>();
        stream->card = card;
        stream->flags = 0;
    }
    return stream;
}

template <typename F> void each_of(int card, F f) {
    for (auto &stream : streams().standing[card])
        if (stream)
            f(stream);
    for (auto *list : {&streams().made, &streams().left})
        for (auto &stream : *list)
            if (stream->card == card)
                f(stream);
}

void give(Stream &stream, std::function<void()> work) {
    stream.waiting.push_back(std::move(work));
    stream.given++;
}

void give_wait(Stream &stream, Mark mark) {
    give(stream, [mark] { finish(mark); });
}

/// The null stream and those that are not made to ignore it wait for each other.
void wait_by_itself(Stream &stream) {
    if (stream.flags & NON_BLOCKING)
        return;
    auto null = standing(stream.card, 0);
    each_of(stream.card, [&](const std::shared_ptr<Stream> &other) {
        bool of_interest = &stream == null.get() ? !(other->flags & NON_BLOCKING) : other == null;
        if (other.get() != &stream && of_interest && other->given > other->done)
            give_wait(stream, {other, other->given});
    });
}

/// Does what comes next in a stream, if there is anything.
void do_next(Stream &stream) {
    std::function<void()> work;
    {
        std::lock_guard<std::mutex> guard(queues);
        if (stream.waiting.empty())
            return;
        work = std::move(stream.waiting.front());
        stream.waiting.pop_front();
    }
    // A card that is broken does nothing any more.
    if (!broken(stream.card))
        work();
    stream.done++;
}

} // namespace

bool late() {
    static const bool late = [] {
        const char *text = getenv("CUDA_EMULATOR_STREAMS");
        if (text && strcmp(text, "late") != 0 && strcmp(text, "at-once") != 0)
            die("CUDA_EMULATOR_STREAMS is at-once or late, not `%s`", text);
        return text && strcmp(text, "late") == 0;
    }();
    return late;
}

Stream *create_stream(int card, unsigned flags) {
    auto stream = std::make_shared<Stream>();
    stream->card = card;
    stream->flags = flags;
    std::lock_guard<std::mutex> guard(queues);
    streams().made.push_back(stream);
    return stream.get();
}

bool destroy_stream(Stream *stream) {
    std::lock_guard<std::mutex> guard(queues);
    auto found = find(stream);
    if (found == streams().made.end())
        return false;
    auto &left = streams().left;
    left.erase(std::remove_if(left.begin(), left.end(), [](auto &stream) { return stream->done == stream->given; }), left.end());
    if ((*found)->done < (*found)->given)
        left.push_back(*found);
    streams().made.erase(found);
    return true;
}

std::shared_ptr<Stream> stream_of(void *handle, int card) {
    std::lock_guard<std::mutex> guard(queues);
    // Names of the streams that there always are: none and 1 are the null stream, 2 is that of threads, which all share here.
    auto number = reinterpret_cast<uintptr_t>(handle);
    if (number <= STANDING)
        return standing(card, number == 2 ? 1 : 0);
    auto found = find(handle);
    return found == streams().made.end() || (*found)->card != card ? nullptr : *found;
}

unsigned flags_of(const Stream &stream) { return stream.flags; }

void in_order(const std::shared_ptr<Stream> &stream, std::function<void()> work) {
    if (!late())
        return work();
    std::lock_guard<std::mutex> guard(queues);
    wait_by_itself(*stream);
    give(*stream, std::move(work));
}

Mark mark_of(const std::shared_ptr<Stream> &stream) {
    std::lock_guard<std::mutex> guard(queues);
    wait_by_itself(*stream);
    return {stream, stream->given};
}

void wait_for(const std::shared_ptr<Stream> &stream, const Mark &mark) {
    std::lock_guard<std::mutex> guard(queues);
    if (mark.stream && mark.stream->done < mark.position)
        give_wait(*stream, mark);
}

bool reached(const Mark &mark) { return !mark.stream || mark.stream->done >= mark.position; }

void finish(const Mark &mark) {
    if (reached(mark))
        return;
    std::lock_guard<std::recursive_mutex> guard(doing[mark.stream->card]);
    while (!reached(mark))
        do_next(*mark.stream);
}

bool come_nearer(const Mark &mark) {
    if (!reached(mark)) {
        std::lock_guard<std::recursive_mutex> guard(doing[mark.stream->card]);
        if (!reached(mark))
            do_next(*mark.stream);
    }
    return reached(mark);
}

void finish_card(int card) {
    std::vector<Mark> marks;
    {
        std::lock_guard<std::mutex> guard(queues);
        each_of(card, [&](const std::shared_ptr<Stream> &stream) { marks.push_back({stream, stream->given}); });
    }
    for (const Mark &mark : marks)
        finish(mark);
}

void launch_in_order(const std::shared_ptr<Stream> &stream, const Plan &plan, std::function<void()> work) {
    int card = stream->card;
    in_order(stream, [card, plan, work = std::move(work)] {
        while (plan.hangs)
            usleep(10'000);
        work();
        if (plan.afterwards)
            stick(card, plan.afterwards);
    });
}

} // namespace cuda_emulator
