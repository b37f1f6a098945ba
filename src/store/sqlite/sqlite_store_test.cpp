#include "base/fd.h"
#include "base/file.h"
#include "store/sqlite/connection.h"
#include "store/sqlite/sqlite_store.h"
#include "store/temporary_folder.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

namespace muster::store {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<SqliteStore> open_store(const SqliteSettings& settings) {
    auto store = SqliteStore::open(settings);
    EXPECT_TRUE(store) << store.error().text();
    return *std::move(store);
}

Result<void> commit(Store& store, const std::vector<Write>& writes) {
    return store.commit(writes);
}

TEST(SqliteStore, keeps_records_over_a_restart_in_a_private_file) {
    const TemporaryFolder folder;
    const SqliteSettings settings{.path = folder.path() / "store.db"};
    ASSERT_TRUE(commit(*open_store(settings), {{"object", "a", "1"}}));
    EXPECT_EQ(open_store(settings)->read("object", "a"), (Record{"object", "a", "1", 1}));
    struct stat status {};
    ASSERT_EQ(::stat(settings.path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST(SqliteStore, is_held_by_one_process_at_a_time) {
    const TemporaryFolder folder;
    const SqliteSettings settings{.path = folder.path() / "store.db", .open_timeout = 10ms};
    const auto first = open_store(settings);
    const auto second = SqliteStore::open(settings);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::unavailable);
    EXPECT_NE(second.error().message.find("in use"), std::string::npos) << second.error().message;
    EXPECT_TRUE(commit(*first, {{"object", "a", "1"}}));
}

TEST(SqliteStore, refuses_files_that_are_not_its_own) {
    const TemporaryFolder folder;
    const auto refusal_of = [&](const char* name) {
        const auto store = SqliteStore::open({.path = folder.path() / name, .open_timeout = 10ms});
        EXPECT_FALSE(store);
        return store.error();
    };
    ASSERT_TRUE(replace_file(folder.path() / "text", std::string(8192, 'x')));
    EXPECT_EQ(refusal_of("text").code, ErrorCode::invalid_argument);
    {
        const Database foreign = open_database(folder.path() / "foreign");
        execute(foreign.get(), "CREATE TABLE other (a)");
    }
    EXPECT_NE(refusal_of("foreign").message.find("not one of Muster's"), std::string::npos);
    open_store({.path = folder.path() / "newer"}).reset();
    {
        const Database newer = open_database(folder.path() / "newer");
        execute(newer.get(), "PRAGMA user_version = 999");
    }
    EXPECT_NE(refusal_of("newer").message.find("schema 999"), std::string::npos);
    EXPECT_EQ(refusal_of("no/such/folder").code, ErrorCode::unavailable);
}

TEST(SqliteStore, keeps_nothing_of_a_commit_that_does_not_fit_and_goes_on) {
    const TemporaryFolder folder;
    const SqliteSettings settings{.path = folder.path() / "store.db", .bytes_max = std::int64_t{256} * 1024};
    const auto store = open_store(settings);
    ASSERT_TRUE(commit(*store, {{"object", "a", "1"}}));
    const std::string large(std::size_t{512} * 1024, 'x');
    for (int i = 0; i < 3; ++i) {
        EXPECT_THROW(static_cast<void>(commit(*store, {{"object", "a", "2"}, {"object", "b", large}})), StoreDown);
        EXPECT_EQ(store->list("object"), (std::vector<Record>{{"object", "a", "1", 1}}));
    }
    EXPECT_TRUE(commit(*store, {{"object", "a", "2", 1}}));
    EXPECT_EQ(store->read("object", "a")->body, "2");
}

/// Runs `action` in a child process; its return value is the exit code.
pid_t in_child(const std::function<int()>& action) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(action());
    }
    return child;
}

int wait_for(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}

/// A limit on file size makes the system refuse writes as a full disk does.
int write_until_the_disk_is_full(const SqliteSettings& settings) {
    ::signal(SIGXFSZ, SIG_IGN);
    const auto store = SqliteStore::open(settings).value();
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit small{rlim_t{512} * 1024, limit.rlim_max};
    if (::setrlimit(RLIMIT_FSIZE, &small) != 0) {
        return 1;
    }
    int kept = 0;
    try {
        for (; kept < 1000; ++kept) {
            const std::string body = std::to_string(kept) + std::string(10'000, 'x');
            if (!commit(*store, {{"object", "last", body}, {"object", std::to_string(kept), body}})) {
                return 2;
            }
        }
        return 3;
    } catch (const StoreDown&) {
        const std::string last = store->read("object", "last")->body;
        if (std::stoi(last) != kept - 1 || store->list("object").size() != static_cast<std::size_t>(kept) + 1) {
            return 4;
        }
    }
    ::setrlimit(RLIMIT_FSIZE, &limit);
    return commit(*store, {{"object", "after", "1"}}) ? 0 : 5;
}

TEST(SqliteStore, keeps_nothing_of_a_commit_on_a_full_disk_and_recovers) {
    const TemporaryFolder folder;
    const SqliteSettings settings{.path = folder.path() / "store.db"};
    const int status = wait_for(in_child([&] { return write_until_the_disk_is_full(settings); }));
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_TRUE(open_store(settings)->read("object", "after"));
}

/// Commits transactions of three records for ever, and says on `acknowledgements` when each was kept.
int commit_for_ever(const SqliteSettings& settings, int acknowledgements) {
    const auto store = SqliteStore::open(settings).value();
    const auto before = store->read("meta", "count");
    for (int number = before ? std::stoi(before->body) + 1 : 1;; ++number) {
        const std::string body = std::to_string(number);
        if (!commit(
                *store,
                {{"object", "a", body + std::string(5000, 'x')}, {"object", body, body}, {"meta", "count", body}}) ||
            ::write(acknowledgements, &number, sizeof number) != sizeof number) {
            return 1;
        }
    }
}

TEST(SqliteStore, keeps_every_acknowledged_commit_and_no_half_one_over_kill_9) {
    const TemporaryFolder folder;
    const SqliteSettings settings{.path = folder.path() / "store.db"};
    int last = 0;
    for (const int commits : {1, 7, 40, 3, 150}) {
        int ends[2];
        ASSERT_EQ(::pipe(ends), 0);
        const UniqueFd reading{ends[0]};
        UniqueFd writing{ends[1]};
        const pid_t child = in_child([&] { return commit_for_ever(settings, writing.get()); });
        writing.reset();
        const int until = last + commits;
        while (last < until) {
            ASSERT_EQ(::read(reading.get(), &last, sizeof last), static_cast<ssize_t>(sizeof last));
        }
        ::kill(child, SIGKILL);
        EXPECT_TRUE(WIFSIGNALED(wait_for(child)));
        for (int more = 0; ::read(reading.get(), &more, sizeof more) == static_cast<ssize_t>(sizeof more);) {
            last = more;
        }
        const auto store = open_store(settings);
        const int kept = std::stoi(store->read("meta", "count")->body);
        // The last commit may have been kept without its acknowledgement having been written.
        EXPECT_TRUE(kept == last || kept == last + 1) << kept << " " << last;
        EXPECT_EQ(std::stoi(store->read("object", "a")->body), kept);
        EXPECT_EQ(store->list("object").size(), static_cast<std::size_t>(kept) + 1);
        last = kept;
    }
}

} // namespace
} // namespace muster::store
