// SPDX-License-Identifier: MIT
#include "supervisor/log.h"

#include <fmt/format.h>
#include <sys/stat.h>

namespace cloister::supervisor {
namespace {

void put(cloister::Record& record, std::string_view key, std::integral auto value) {
    record.number(key, value);
}
void put(cloister::Record& record, std::string_view key, const std::string& value) {
    record.text(key, value);
}
void put(cloister::Record& record, std::string_view key, const Strings& values) {
    record.list(key, values);
}
template <class Value>
void put(cloister::Record& record, std::string_view key,
         const std::vector<std::pair<std::string, Value>>& map) {
    record.map(key, map);
}

} // namespace

cloister::Record Record::render(LogFormat format, bool priority,
                                std::chrono::system_clock::time_point now) const {
    const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch());
    cloister::Record record{format, priority, level_, event_, since.count()};
    for (const auto& [key, value] : fields_) {
        std::visit([&, &key = key](const auto& concrete) { put(record, key, concrete); }, value);
    }
    return record;
}

void Log::write(const Record& record) {
    const auto now = realtime_ns();
    auto rendered = record.render(
        writer_->format(), writer_->priorities(),
        std::chrono::system_clock::time_point{
            std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds{now})});
    writer_->add(rendered, now);
    writer_->flush(now);
}

bool is_journal(int fd, const char* journal_stream) {
    struct stat status {};
    return journal_stream != nullptr && ::fstat(fd, &status) == 0 &&
           fmt::format("{}:{}", status.st_dev, status.st_ino) == journal_stream;
}

} // namespace cloister::supervisor
