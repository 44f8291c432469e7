#pragma once
#include "cuda_emulator_halves.h"
