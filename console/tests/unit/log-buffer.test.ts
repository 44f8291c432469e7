import { describe, expect, test } from 'vitest'
import { LogBuffer } from '@/lib/log-buffer'

const at = '2026-01-01T00:00:00Z'
const messages = (log: LogBuffer) => log.shown.map(({ message }) => message)

describe('a log', () => {
  test('shows what its filter lets through, also of lines that come later', () => {
    const log = new LogBuffer()
    log.push(at, 'INFO', 'Epoch 1')
    log.push(at, 'ERROR', 'it broke')
    log.setFilter({ level: 'WARNING', text: '' })
    expect(messages(log)).toEqual(['it broke'])
    log.push(at, 'DEBUG', 'it broke again')
    log.push(at, 'WARNING', 'careful')
    expect(messages(log)).toEqual(['it broke', 'careful'])
    log.setFilter({ level: 'DEBUG', text: 'BROKE' })
    expect(messages(log)).toEqual(['it broke', 'it broke again'])
    expect(log.size).toBe(4)
  })

  test('lets the oldest go when there are too many, and says how many', () => {
    const log = new LogBuffer(100)
    log.setFilter({ level: 'DEBUG', text: '7' })
    for (let line = 0; line < 1000; line += 1) log.push(at, 'INFO', `line ${line}`)
    expect(log.size + log.dropped).toBe(1000)
    expect(log.size).toBeLessThanOrEqual(125)
    const first = 1000 - log.size
    expect(log.shown.every(({ number, message }) => number >= first && message.includes('7'))).toBe(true)
    expect(log.shown.at(-1)?.message).toBe('line 997')
  })

  test('has no colours, and shows what would turn text around', () => {
    const log = new LogBuffer()
    log.push(at, 'nonsense', '\u001b[1;31mred\u001b[0m \u001b]8;;http://x\u0007link\u001b]8;;\u0007 a\u202Eb\u0000')
    expect(log.shown[0]).toMatchObject({ level: 'INFO', message: 'red link a\\u202eb\\u0000' })
    log.push(at, 'INFO', 'x'.repeat(1_000_000))
    expect(log.shown[1]?.message.length).toBe(10_001)
  })
})
