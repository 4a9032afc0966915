// SPDX-License-Identifier: MIT
#include "audit/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cloister::audit {
namespace {

using ::testing::HasSubstr;

const std::string of_kernel =
    "audit: type=1326 audit(1700000000.123:456): auid=1000 uid=33 gid=33 ses=3 subj=unconfined pid=1234 "
    "comm=\"nginx\" exe=\"/usr/sbin/nginx\" sig=31 arch=c000003e syscall=41 compat=0 ip=0x7f1234567890 "
    "code=0x80000000";

void expect_the_record(const std::string& line) {
    const auto record = parse_record(line);
    ASSERT_TRUE(record) << record.error();
    EXPECT_EQ(record->number, 41U);
    EXPECT_EQ(record->call, "socket");
    EXPECT_EQ(record->abi, policy::Abi::x86_64);
    EXPECT_EQ(record->pid, "1234");
    EXPECT_EQ(record->comm, "nginx");
    EXPECT_EQ(record->exe, "/usr/sbin/nginx");
    EXPECT_EQ(record->signal, 31U);
    EXPECT_EQ(record->code, 0x80000000U);
    EXPECT_EQ(record->instruction_pointer, 0x7f1234567890U);
}

TEST(Record, IsReadWithEveryPrefixThatLogsPutBeforeIt) {
    expect_the_record(of_kernel);
    expect_the_record("[  123.456789] " + of_kernel);
    expect_the_record("Nov 27 22:00:01 host kernel: " + of_kernel + "\r\n");
    expect_the_record("2026-11-27T22:00:01+0000 host kernel[0]: " + of_kernel);
    EXPECT_EQ(parse_record(of_kernel)->time, "1700000000.123:456");
    EXPECT_EQ(parse_record(of_kernel)->uid, "33");
}

TEST(Record, OfAuditdIsReadPlainEnrichedAndInterpreted) {
    const std::string fields =
        "auid=1000 uid=33 gid=33 ses=3 pid=1234 comm=\"nginx\" exe=\"/usr/sbin/nginx\" sig=31 "
        "arch=c000003e syscall=41 compat=0 ip=0x7f1234567890 code=0x80000000";
    expect_the_record("type=SECCOMP msg=audit(1700000000.123:456): " + fields);
    expect_the_record("type=SECCOMP msg=audit(1700000000.123:456): " + fields +
                      "\x1d"
                      "AUID=\"root\" UID=\"www-data\" ARCH=x86_64 SYSCALL=socket");
    expect_the_record(
        "type=SECCOMP msg=audit(11/27/2026 22:00:00.123:456) : auid=unset uid=www-data gid=www-data "
        "ses=unset pid=1234 comm=nginx exe=/usr/sbin/nginx sig=SIGSYS arch=x86_64 syscall=socket "
        "compat=0 ip=0x7f1234567890 code=kill_process");
}

TEST(Record, OfANameInHexIsReadable) {
    const auto record =
        parse_record("type=1326 pid=1 comm=6D7920636F6D6D exe=\"/a\" arch=c000003e syscall=0");
    ASSERT_TRUE(record) << record.error();
    EXPECT_EQ(record->comm, "my comm");
}

TEST(Record, OfEachAbiNamesTheCallInIt) {
    const auto call = [](const std::string& arch, const std::string& number) {
        const auto record = parse_record("type=1326 arch=" + arch + " syscall=" + number);
        return record ? record->call : record.error();
    };
    EXPECT_EQ(call("40000003", "102"), "socketcall");
    EXPECT_EQ(call("c00000b7", "56"), "openat");
    EXPECT_EQ(call("c000003e", "1073741824"), "read") << "x32";
    EXPECT_EQ(call("c000003e", "9999"), "");
    EXPECT_EQ(call("c00000f3", "1"), "") << "riscv64, whose names are not known here";
}

TEST(Record, ThatLacksAFieldOrIsAnotherKindIsRefusedAndSaysWhy) {
    const auto error = [](const std::string& line) {
        const auto record = parse_record(line);
        return record ? "taken" : record.error();
    };
    EXPECT_THAT(error(""), HasSubstr("the line is empty"));
    EXPECT_THAT(error("type=1326 pid=1 arch=c000003e"), HasSubstr("there is no 'syscall='"));
    EXPECT_THAT(error("type=1326 pid=1 syscall=41"), HasSubstr("there is no 'arch='"));
    EXPECT_THAT(error("hello"), HasSubstr("there is no 'arch=' and no 'syscall='"));
    EXPECT_THAT(error("type=AVC arch=c000003e syscall=41"), HasSubstr("the record has the type AVC"));
    EXPECT_THAT(error("type=1326 arch=xyz syscall=41"), HasSubstr("arch=xyz is neither"));
    EXPECT_THAT(error("type=1326 arch=c000003e syscall=sockett"), HasSubstr("syscall=sockett is neither"));
    EXPECT_THAT(error("type=1326 arch=c000003e syscall=4294967296"), HasSubstr("is neither a number"));
    EXPECT_THAT(error("type=1326 arch=c000003e syscall=1 code=maybe"), HasSubstr("code=maybe is no action"));
    EXPECT_THAT(error("type=1326 arch=c000003e syscall=1 sig=x"), HasSubstr("sig=x is no number"));
    EXPECT_THAT(error("type=1326 arch=c000003e syscall=1 ip=zz"), HasSubstr("ip=zz is no address"));
    EXPECT_THAT(error(R"({"event":"violation","pid":33})"), HasSubstr("look for its record with pid=33"));
}

TEST(Record, OfCloisterdIsTakenIfItHasTheNumber) {
    const auto record = parse_record(R"({"event":"violation","pid":33,"syscall":41,"arch":"c000003e"})");
    ASSERT_TRUE(record) << record.error();
    EXPECT_EQ(record->call, "socket");
    EXPECT_EQ(record->pid, "33");
}

TEST(Record, CutAnywhereNeverCrashes) {
    for (std::size_t size = 0; size <= of_kernel.size(); ++size) {
        (void)parse_record(of_kernel.substr(0, size));
        (void)parse_record(of_kernel.substr(size));
    }
}

TEST(Code, IsDescribedWithItsData) {
    EXPECT_EQ(describe_code(0x80000000), "kill-process");
    EXPECT_EQ(describe_code(0), "kill-thread");
    EXPECT_EQ(describe_code(0x00030005), "trap with data 5");
    EXPECT_EQ(describe_code(0x00050001), "errno EPERM");
    EXPECT_EQ(describe_code(0x7ffc0000), "log");
    EXPECT_EQ(describe_code(0x7fc00000), "notify");
    EXPECT_THAT(describe_code(0x01230000), HasSubstr("takes it for kill-process"));
}

} // namespace
} // namespace cloister::audit
