import { expect, test } from 'vitest'
import { cardCharts, cardFigures } from '@/lib/usage'

const used = { cpu_percent: 90, memory_mb: 80, gpu_util: 0, duration_seconds: 4 }

test('a run on the processor has no figures of a card', () => {
  for (const none of [used, null, undefined]) expect(cardFigures(none)).toEqual([])
})

test('a card whose driver tells no use has the other figures', () => {
  expect(cardFigures({ ...used, gpu_memory_mb: 600, gpu_temperature_c: null, gpu_power_w: 0 })).toEqual([
    ['gpuMemory', 600, 'MiB'],
    ['gpuPower', 0, 'W'],
  ])
  expect(cardFigures({ ...used, gpu_util: 0.5, gpu_memory_mb: 600 })).toEqual([
    ['gpu', 0.5, '%'],
    ['gpuMemory', 600, 'MiB'],
  ])
})

test('use is drawn where it was above 0 at some time', () => {
  const none = { cpu: [], memory: [], gpuTemperature: [], gpuPower: [] }
  const idle: [number, number][] = [[1, 0], [2, 0]]
  const busy: [number, number][] = [[1, 0], [2, 3], [3, 0]]
  const memory: [number, number][] = [[1, 600]]
  expect(cardCharts({ ...none, gpu: idle, gpuMemory: memory })).toEqual([['gpuMemory', memory]])
  expect(cardCharts({ ...none, gpu: busy, gpuMemory: memory })).toEqual([['gpu', busy], ['gpuMemory', memory]])
  expect(cardCharts({ ...none, gpu: [], gpuMemory: [] })).toEqual([])
})
