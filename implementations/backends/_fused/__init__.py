"""What the back ends `fused`, `fused_step` and `fused_step_pruned` are made of: C++ kernels and their use."""
