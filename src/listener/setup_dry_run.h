// SPDX-License-Identifier: MIT
#pragma once

#include "cell/cell.h"

namespace cloister::listener {

/// A new cell can't read back whether the steps of its setup took effect: its policy allows no call for that.
/// So a child that is not confined yet makes the same steps with the same arguments and reads them back. Dies
/// if the kernel (or an emulator, or an outer filter) reported success and a step had no effect. The death
/// signal and the empty capability sets are the listener's own steps too, read back there
/// (confine/confine.h). Before hide_from_cells(), with the descriptors of the launch configuration open.
void dry_run_setup(const cell::Parameters& parameters);

} // namespace cloister::listener
