/** A real service for the tests, and a page that fails its test when anything goes wrong in the browser. */

import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test as base, type Page } from '@playwright/test'

const PROGRAM = process.env.TRAINYARD ?? 'trainyard'
const REPOSITORY = new URL('../../../', import.meta.url).pathname
export const WEATHER = join(REPOSITORY, 'examples/data/seattle-weather.csv')

export class Service {
  private process: ChildProcess | undefined
  private readonly folder = mkdtempSync(join(tmpdir(), 'trainyard-console-'))
  url = ''
  token: string | undefined

  /** Starts it on a free port, or again on the port that it had. */
  async start(): Promise<void> {
    const listen = this.url ? new URL(this.url).host : '127.0.0.1:0'
    const child = spawn(PROGRAM, ['up', '--listen', listen, '--data-dir', this.folder, '--slots', '2'], {
      env: { ...process.env, TRAINYARD_LOG_LEVEL: 'warn' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.process = child
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the service ended with ${code}`)))
      createInterface({ input: child.stdout! }).on('line', (line) => {
        const at = /at (http:\/\/\S+)/.exec(line)
        if (at) {
          this.url = at[1]!
          resolve()
        }
      })
    })
  }

  /** Ends it as Ctrl-C does. */
  async stop(): Promise<void> {
    const child = this.process
    if (!child || child.exitCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGINT')
    await ended
  }

  async end(): Promise<void> {
    await this.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async call<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = {}
    if (this.token) headers.authorization = `Bearer ${this.token}`
    let content: string | Uint8Array<ArrayBuffer> | undefined
    if (body instanceof Uint8Array) content = body as Uint8Array<ArrayBuffer>
    else if (body !== undefined) {
      content = JSON.stringify(body)
      headers['content-type'] = 'application/json'
    }
    if (path.startsWith('/plugins') && body instanceof Uint8Array) headers['content-type'] = 'text/x-python'
    if (path.startsWith('/datasets') && body instanceof Uint8Array) headers['content-type'] = 'text/csv'
    const answer = await fetch(`${this.url}/api/v2/ai${path}`, { method, headers, body: content })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
    return (JSON.parse(text) as { data: T }).data
  }

  /** Uploads the algorithm of these tests, whose parameters say how it behaves. */
  async stepper(): Promise<void> {
    await this.call('POST', '/plugins', readFileSync(new URL('plugins/stepper.py', import.meta.url)))
  }

  /** Uploads the weather; its id. */
  async weather(): Promise<string> {
    return (await this.call<{ id: string }>('POST', '/datasets?name=weather.csv', readFileSync(WEATHER))).id
  }

  /** A model whose trainings take `steps` steps; its number. */
  async model(name: string, dataset: string, parameters: Record<string, unknown> = {}): Promise<number> {
    const model = await this.call<{ id: number }>('POST', '/models', {
      name,
      plugin: 'stepper',
      training_dataset: { source: 'upload', dataset_id: dataset, target: 'temp_max' },
      training_parameters: parameters,
    })
    return model.id
  }

  train(model: number, body: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    return this.call('POST', `/models/${model}/train`, body)
  }

  async until(model: number, status: string): Promise<void> {
    await expect.poll(async () => (await this.call<{ status: string }>('GET', `/models/${model}`)).status, { timeout: 60_000 }).toBe(status)
  }
}

/** Words of the browser that are no fault of the page: it says of every refused request that it was refused. */
const EXPECTED = /Failed to load resource|net::ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|CONNECTION_RESET)/

export const test = base.extend<{ faults: string[] }, { service: Service }>({
  service: [
    async ({}, use) => {
      const service = new Service()
      await service.start()
      await use(service)
      await service.end()
    },
    { scope: 'worker' },
  ],
  /** What the browser complained of; a test that expects something takes it out. */
  faults: [
    async ({ page }, use) => {
      const faults: string[] = []
      page.on('pageerror', (error) => faults.push(String(error)))
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type()) && !EXPECTED.test(message.text())) faults.push(message.text())
      })
      page.on('request', (request) => {
        const host = new URL(request.url())
        if (/^https?:$/.test(host.protocol) && host.hostname !== '127.0.0.1') faults.push(`a request to ${request.url()}`)
      })
      await use(faults)
      expect(faults, 'what the browser complained of').toEqual([])
    },
    { auto: true },
  ],
})

export { expect }

/** Opens a page of the console. */
export async function open(page: Page, service: Service, path: string, language: 'en' | 'zh' = 'en'): Promise<void> {
  await page.addInitScript((chosen) => localStorage.setItem('trainyard.language', chosen), language)
  await page.goto(`${service.url}/#${path}`)
}
