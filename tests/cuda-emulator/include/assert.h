// Not the host's: a device's assertion ends the kernel. `cuda_emulator.h` has it.
