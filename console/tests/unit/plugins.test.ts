import { describe, expect, it } from 'vitest'
import { Problem } from '@/api/client'
import { contentType } from '@/lib/plugin-api'
import { lineOf, logOf, nextPatch, withVersion } from '@/lib/python-source'
import { SAMPLES } from '@/lib/samples'

describe('lines', () => {
  const failed = (details: unknown, message = 'no') => new Problem(422, 'algorithm', message, undefined, details)

  it("are the author's, not the library's", () => {
    const traceback = 'File "plugin.py", line 9, in <module>\nFile "plugin.py", line 12, in train\nFile "trainyard/nn.py", line 3, in f'
    expect(lineOf(failed({ exception: { file: 'trainyard/nn.py', line: 3, traceback } }))).toBe(12)
    expect(lineOf(failed({ exception: { file: 'plugin.py', line: 5, traceback } }))).toBe(5)
  })

  it('are found in messages and logs', () => {
    expect(lineOf(failed(undefined, 'NameError (plugin.py, line 7, in A: `x`)'))).toBe(7)
    expect(lineOf(failed({ log: [{ message: 'File "plugin.py", line 4' }, 'the end'] }))).toBe(4)
    expect(lineOf(failed({ log: [null, 3] }))).toBeUndefined()
    expect(logOf(failed({ log: 'a\nb' }))).toEqual(['a', 'b'])
  })
})

describe('versions', () => {
  it('are raised where they stand', () => {
    expect(withVersion('class A:\n    version: str = "0.1.0"  # v\n', '0.1.1')).toBe('class A:\n    version: str = "0.1.1"  # v\n')
  })

  it('are written where there is none', () => {
    expect(withVersion('class A:\n    tasks = ["regression"]\n', '0.1.1')).toBe('class A:\n    version = "0.1.1"\n    tasks = ["regression"]\n')
    expect(withVersion('x = 1\n', '0.1.1')).toBeUndefined()
  })

  it('are the next that is free', () => {
    expect(nextPatch('0.1.0', ['0.1.0', '0.1.4', '0.2.9'])).toBe('0.1.5')
    expect(nextPatch('1.0.0-beta', [])).toBe('1.0.1')
    expect(nextPatch('none', [])).toBeUndefined()
  })
})

describe('files', () => {
  it('are told by their ending', () => {
    expect(['a.wasm', 'b.PY', 'c.zip', 'd.txt', 'wasm'].map(contentType)).toEqual(['application/wasm', 'text/x-python', 'application/zip', undefined, undefined])
  })
})

describe('samples', () => {
  it.each(SAMPLES)('$name is the same each time, small and whole', (sample) => {
    const rows = sample.csv().trimEnd().split('\n').map((row) => row.split(','))
    expect(sample.csv()).toBe(sample.csv())
    expect(rows[0]).toEqual(sample.columns)
    expect(rows[0]).toContain(sample.target)
    expect(rows.every((row) => row.length === sample.columns.length && row.every((cell) => cell !== '' && cell !== 'NaN'))).toBe(true)
    expect(sample.csv().length).toBeLessThan(1 << 20)
  })
})
