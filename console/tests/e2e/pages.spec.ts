/** Every page, with something on it: in both languages, light and dark, on a desk and on a phone, and for those who cannot see it. */

import AxeBuilder from '@axe-core/playwright'
import { readFileSync } from 'node:fs'
import { expect, test, type Service } from './service'

const paths: Record<string, string> = {}

test.beforeAll(async ({ service }) => {
  await service.stepper()
  const dataset = await service.weather()
  const model = await service.model('a model', dataset, { steps: 40 })
  const { task_id: first } = await service.train(model)
  await service.until(model, 'TRAINED')
  const { task_id: second } = await service.train(model, { training_parameters: { steps: 60 } })
  await expect.poll(async () => (await runOf(service, model, String(second))).state).toBe('TRAINED')
  const failed = await service.model('a failure', dataset, { steps: 2, fails: 'as asked' })
  await service.train(failed)
  await service.until(failed, 'ERROR')
  const draft = await service.model('a draft', dataset)
  const sweep = await service.call<{ id: number }>('POST', `/models/${model}/sweep`, {
    space: { steps: [2, 3, 4], learning_rate: { min: 0.001, max: 0.1, log: true } },
    method: 'random',
    trials: 6,
  })
  await service.call('POST', '/schedules', { model_id: model, name: 'nightly', cron: '0 2 * * *', time_zone: 'Europe/Berlin' })
  await expect.poll(async () => (await service.call<{ state: string }>('GET', `/sweeps/${sweep.id}`)).state).toBe('FINISHED')
  Object.assign(paths, {
    models: '/models',
    model: `/models/${model}?view=report`,
    failure: `/models/${failed}`,
    draft: `/models/${draft}`,
    train: '/train',
    again: `/train?model=${model}&run=${String(second)}`,
    compare: `/compare?runs=${model}:${String(first)},${model}:${String(second)}`,
    sweeps: '/sweeps',
    sweep: `/sweeps/${sweep.id}`,
    data: '/data',
    dataset: `/data/${dataset}`,
    plugins: '/plugins',
    plugin: '/plugins/stepper',
    editor: '/editor',
    schedules: '/schedules',
    workers: '/workers',
    tokens: '/tokens',
    audit: '/audit',
    nowhere: '/nowhere',
  })
})

const runOf = (service: Service, model: number, run: string) => service.call<{ state: string }>('GET', `/models/${model}/runs/${run}`)

const LOOKS = [
  { language: 'en', theme: 'light', width: 1280, height: 900 },
  { language: 'zh', theme: 'dark', width: 360, height: 740 },
] as const

for (const { language, theme, width, height } of LOOKS) {
  test(`every page in ${language}, ${theme}, ${width} wide`, async ({ page, service }) => {
    test.setTimeout(300_000)
    await page.setViewportSize({ width, height })
    await page.addInitScript(
      ([language, theme]) => {
        localStorage.setItem('trainyard.language', language)
        localStorage.setItem('trainyard.theme', theme)
      },
      [language, theme] as const,
    )
    for (const [name, path] of Object.entries(paths)) {
      // Loaded anew each time: otherwise the page before stays in sight until the next one is there.
      await page.goto(`${service.url}/#${path}`)
      await page.reload()
      await expect(page.locator('main h1'), name).toHaveCount(1)
      await page.waitForLoadState('networkidle')
      await expect(page.locator('.el-skeleton'), name).toHaveCount(0)
      if (process.env.TRAINYARD_SCREENSHOTS) await page.screenshot({ path: `${process.env.TRAINYARD_SCREENSHOTS}/${name}-${language}.png`, fullPage: true })
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      expect.soft(wide, `${name} is wider than the screen`).toBeLessThanOrEqual(0)
      const { violations } = await new AxeBuilder({ page }).analyze()
      const serious = violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} (${failureSummary?.split('\n')[1]?.trim() ?? ''})`).join('; ')}`)
      expect.soft(serious, `${name} for those who cannot see it`).toEqual([])
    }
  })
}

test('the first load is small', async ({ page, service }) => {
  let bytes = 0
  const client = await page.context().newCDPSession(page)
  await client.send('Network.enable')
  client.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength))
  await page.goto(service.url, { waitUntil: 'networkidle' })
  console.log(`the first load: ${Math.round(bytes / 1024)} KB over the network`)
  expect(bytes).toBeLessThanOrEqual(200 * 1024)
})

test('the page can be used with the keyboard alone', async ({ page, service }) => {
  await page.addInitScript(() => localStorage.setItem('trainyard.language', 'en'))
  await page.goto(`${service.url}/#/models`)
  await expect(page.getByRole('link', { name: 'a failure' })).toBeVisible()
  await page.keyboard.press('Tab')
  await expect(page.getByRole('link', { name: 'Skip to the content' })).toBeFocused()
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  await expect(page.getByRole('link', { name: 'New training' })).toBeFocused()
  await page.keyboard.press('Tab')
  await page.keyboard.type('failure')
  await expect(page.getByRole('row')).toHaveCount(2)
  await page.getByRole('link', { name: 'a failure' }).focus()
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { level: 1, name: 'a failure' })).toBeVisible()
})

test('nothing of the page is inline, and it asks no other host', async ({ service }) => {
  const answer = await fetch(service.url)
  const policy = answer.headers.get('content-security-policy') ?? ''
  expect(policy).toContain("default-src 'none'")
  expect(policy).not.toContain('unsafe')
  const text = await answer.text()
  expect(text).not.toMatch(/<script>|<style|\sstyle=|\son\w+=/)
  expect(readFileSync(new URL('../../index.html', import.meta.url), 'utf8')).not.toMatch(/https?:/)
})
