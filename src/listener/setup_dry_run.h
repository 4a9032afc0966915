// SPDX-License-Identifier: MIT
#pragma once

#include "cell/cell.h"

namespace cloister::listener {

/// A newborn can't look whether its steps have taken effect: its policy allows it nothing to look with. So a
/// child that is not confined yet takes the same steps with the same arguments, and looks. Dies if the kernel
/// (or an emulator, or an outer filter) says 'done' to one and does not do it. The death signal and the empty
/// capability sets are the listener's own steps too, read back there (confine/confine.h). Before
/// hide_from_cells(), with the descriptors of the launch configuration open.
void dry_run_setup(const cell::Parameters& parameters);

} // namespace cloister::listener
