# SPDX-License-Identifier: MIT
"""What bench/drill is made of: a network, servers in it, attacks on them, and a verdict."""
