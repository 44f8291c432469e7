/** What happens while somebody watches: the service restarts, streams do not get through, names and logs are hostile. */

import { expect, open, test } from './service'

let dataset = ''
test.beforeAll(async ({ service }) => {
  await service.stepper()
  dataset = await service.weather()
})

test('the page goes on by itself after the service was away', async ({ page, service }) => {
  const model = await service.model('watched', dataset, { steps: 100_000 })
  await service.train(model)
  await open(page, service, `/models/${model}`)
  await expect(page.getByText('Live', { exact: true })).toBeVisible()
  await service.stop()
  await expect(page.getByText(/Connecting|No live connection/)).toBeVisible()
  await service.start()
  await expect(page.getByText('Live', { exact: true })).toBeVisible({ timeout: 40_000 })
  await expect(page.locator('[data-status=TRAINING]').first()).toBeVisible({ timeout: 60_000 })
  const step = page.getByText(/^step \d+ of 100000/)
  const before = await step.textContent()
  await expect.poll(() => step.textContent()).not.toBe(before)
  await service.call('POST', `/models/${model}/stop`)
  await expect(page.locator('[data-status=CANCELLED]').first()).toBeVisible()
})

test('where no stream gets through, it asks instead', async ({ page, service }) => {
  // As a proxy does that answers for the service.
  await page.route('**/logs/stream', (route) => route.fulfill({ status: 502, body: 'bad gateway' }))
  const model = await service.model('polled', dataset, { steps: 1500, work: 2 })
  await service.train(model)
  await open(page, service, `/models/${model}`)
  await expect(page.getByText('No live connection')).toBeVisible()
  await expect(page.locator('[data-status=TRAINED]').first()).toBeVisible({ timeout: 60_000 })
  await expect(page.getByRole('log').getByText('step 1500.0')).toBeVisible()
})

test('hostile names and logs are shown and do nothing', async ({ page, service }) => {
  const name = '<img src=x onerror="document.title=\'taken\'">\u202Eevil'
  const says = '<script>document.title="taken"</script>\u001b[31mred\u001b[0m \u202Ebackwards ' + 'long '.repeat(3000)
  const model = await service.model(name, dataset, { steps: 3, says })
  await service.train(model)
  await service.until(model, 'TRAINED')
  await open(page, service, '/models')
  await expect(page.getByRole('link', { name: '<img src=x' })).toBeVisible()
  await page.getByRole('link', { name: '<img src=x' }).click()
  await expect(page.getByRole('heading', { level: 1 })).toContainText('\\u202eevil')
  const line = page.getByRole('log').getByText(/<script>document\.title/).first()
  await expect(line).toContainText('</script>red \\u202ebackwards')
  await line.click()
  await expect(page.getByRole('region', { name: 'The whole line' })).toContainText('long long')
  expect(await page.title()).not.toContain('taken')
  const width = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  expect(width).toBe(0)
})

test('a thousand lines a second for a minute', async ({ page, service }) => {
  test.setTimeout(240_000)
  const seconds = Number(process.env.TRAINYARD_FLOOD_SECONDS ?? 10)
  const model = await service.model('a flood', dataset, { steps: 100_000, work: 4, lines: 20 })
  await service.train(model)
  await open(page, service, `/models/${model}`)
  await expect(page.locator('[data-status=TRAINING]').first()).toBeVisible()
  const count = async () => Number((await page.getByText(/of \d+ lines/).textContent())!.match(/of (\d+)/)![1])
  const begin = await count()
  const frames = await page.evaluate(async (milliseconds) => {
    const gaps: number[] = []
    const start = performance.now()
    let last = start
    await new Promise<void>((resolve) => {
      function next(now: number) {
        gaps.push(now - last)
        last = now
        if (now - start < milliseconds) requestAnimationFrame(next)
        else resolve()
      }
      requestAnimationFrame(next)
    })
    gaps.sort((a, b) => a - b)
    const at = (share: number) => Math.round((gaps[Math.floor((gaps.length - 1) * share)] ?? 0) * 10) / 10
    return { frames: gaps.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), longest: at(1) }
  }, seconds * 1000)
  const text = await page.getByText(/of \d+ lines/).textContent()
  const dropped = Number(text!.match(/(\d+) older/)?.[1] ?? 0)
  const lines = (await count()) + dropped - begin
  console.log(`${Math.round(lines / seconds)} lines a second for ${seconds} s; milliseconds between frames: ${JSON.stringify(frames)}`)
  expect(lines).toBeGreaterThan(0)
  // It still does what one asks of it.
  await page.getByRole('button', { name: 'Pause' }).click()
  await page.getByRole('textbox', { name: 'Search the log' }).fill('.7')
  await expect(page.getByRole('log').getByText(/\.7$/).first()).toBeVisible()
  await service.call('POST', `/models/${model}/stop`)
  await expect(page.locator('[data-status=CANCELLED]').first()).toBeVisible()
})
