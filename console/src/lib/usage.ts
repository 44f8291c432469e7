/** What a run used of a card, as it is shown: what nobody tells is left out. */

import type { Run } from '@/api/client'
import type { Use } from './live-run'

type Used = Run['resource_usage']

// 0 is also what a driver is taken to say that tells no use at all.
const toldUse = (percent: unknown): percent is number => typeof percent === 'number' && percent > 0

/** Of a whole run: use and power on average, memory and temperature at most. */
export function cardFigures(used: Used) {
  const all = [
    ['gpu', toldUse(used?.gpu_util) ? used?.gpu_util : undefined, '%'],
    ['gpuMemory', used?.gpu_memory_mb, 'MiB'],
    ['gpuTemperature', used?.gpu_temperature_c, '°C'],
    ['gpuPower', used?.gpu_power_w, 'W'],
  ] as const
  return all.filter(([, value]) => value !== undefined && value !== null)
}

/** Of a run that goes on: the figures that have points, with the words for them under `model.charts`. */
export function cardCharts(use: Use) {
  const all = [
    ['gpu', use.gpu.some(([, percent]) => toldUse(percent)) ? use.gpu : []],
    ['gpuMemory', use.gpuMemory],
    ['gpuTemperature', use.gpuTemperature],
    ['gpuPower', use.gpuPower],
  ] as const
  return all.filter(([, points]) => points.length)
}
