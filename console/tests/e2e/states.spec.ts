/** The state machine of the original: what each state shows and allows, with real trainings. */

import { expect, open, test } from './service'

let dataset = ''
test.beforeAll(async ({ service }) => {
  await service.stepper()
  dataset = await service.weather()
})

test('a draft is started, trained and trained again', async ({ page, service }) => {
  const model = await service.model('a draft', dataset, { steps: 30 })
  await open(page, service, `/models/${model}`)
  await expect(page.getByRole('heading', { level: 1, name: 'a draft' })).toBeVisible()
  await expect(page.locator('[data-status=DRAFT]').first()).toBeVisible()
  await page.getByRole('button', { name: 'Start training' }).click()
  await expect(page.locator('[data-status=TRAINED]').first()).toBeVisible()
  await expect(page.getByText('100 %')).toBeVisible()
  // Its figures came live, or were read: a chart for the loss of both kinds of rows, and one for the rate.
  await expect(page.getByRole('img', { name: /loss 0\.0333.*validation_loss 0\.05/ })).toBeVisible()
  await expect(page.getByRole('log').getByText('step 30.0')).toBeVisible()

  await page.getByRole('button', { name: 'Show report' }).click()
  const report = page.getByRole('region', { name: 'Figures on the test rows' })
  await expect(report.getByRole('row', { name: /^mse/ })).toBeVisible()
  await expect(page.getByText('SHA-256 of the plugin')).toBeVisible()
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Weights' }).click()])
  expect(download.suggestedFilename()).toBe('model.safetensors')

  await page.getByRole('button', { name: 'Train again' }).click()
  await expect(page.getByRole('checkbox', { name: /Choose run/ })).toHaveCount(2)
  await expect(page.locator('[data-status=TRAINED]').first()).toBeVisible()
})

test('a training moves, and is stopped', async ({ page, service }) => {
  const model = await service.model('stopped', dataset, { steps: 100_000 })
  await service.train(model)
  await open(page, service, `/models/${model}`)
  await expect(page.locator('[data-status=TRAINING]').first()).toBeVisible()
  await expect(page.getByText('Live', { exact: true })).toBeVisible()
  const step = page.getByText(/^step \d+ of 100000/)
  const first = Number((await step.textContent())!.match(/\d+/)![0])
  await expect.poll(async () => Number((await step.textContent())!.match(/\d+/)![0])).toBeGreaterThan(first + 20)
  // The chart moves, too: what it tells a screen reader is its last point.
  const chart = page.getByRole('img', { name: /^loss, validation_loss/ })
  const told = await chart.getAttribute('aria-label')
  await expect.poll(() => chart.getAttribute('aria-label')).not.toBe(told)
  await expect(page.getByRole('img', { name: /^Memory, MiB/ })).toBeVisible()

  await page.getByRole('button', { name: 'Stop training' }).click()
  await expect(page.getByRole('dialog')).toContainText('Stop this training?')
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
  await expect(page.getByRole('dialog')).toBeHidden()
  await expect(page.getByRole('button', { name: 'Stop training' })).toBeEnabled()
  await page.getByRole('button', { name: 'Stop training' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Stop training' }).click()
  // It is what it was before: a draft, with a run that was stopped.
  await expect(page.locator('[data-status=CANCELLED]').first()).toBeVisible()
  await service.until(model, 'DRAFT')
})

test('one that waits says so, and can be withdrawn', async ({ page, service }) => {
  const busy = [await service.model('busy 1', dataset, { steps: 100_000 }), await service.model('busy 2', dataset, { steps: 100_000 })]
  for (const model of busy) await service.train(model)
  for (const model of busy) await service.until(model, 'TRAINING')
  const model = await service.model('waits', dataset)
  await service.train(model)
  await open(page, service, `/models/${model}`, 'zh')
  await expect(page.locator('[data-status=PENDING]').first()).toHaveText('排队中')
  await expect(page.getByRole('button', { name: '排队中...' })).toBeDisabled()
  await page.getByRole('button', { name: '取消排队' }).click()
  await page.getByRole('dialog').getByRole('button', { name: '取消排队' }).click()
  await expect(page.locator('[data-status=CANCELLED]').first()).toBeVisible()
  for (const model of busy) await service.call('POST', `/models/${model}/stop`)
  for (const model of busy) await service.until(model, 'DRAFT')
})

test('a failure says why, and is tried again', async ({ page, service }) => {
  const model = await service.model('fails', dataset, { steps: 3, fails: 'the sensor melted' })
  await service.train(model)
  await service.until(model, 'ERROR')
  await open(page, service, `/models/${model}`)
  const why = page.getByRole('alert')
  await expect(why).toContainText('the sensor melted')
  await expect(why).toContainText('stepper.py, line')
  await expect(page.getByRole('progressbar').first()).toHaveClass(/bad/)

  await page.getByRole('button', { name: 'Next error' }).click()
  await expect(page.getByRole('region', { name: 'The whole line' })).toContainText('the sensor melted')

  await page.getByRole('button', { name: 'Try again' }).click()
  await expect(page.getByRole('checkbox', { name: /Choose run/ })).toHaveCount(2)
  await expect(page.locator('[data-status=ERROR]').first()).toBeVisible()
})

test('the list finds a model by name and status, and a model can be renamed and deleted', async ({ page, service }) => {
  const model = await service.model('findable', dataset)
  await open(page, service, '/models')
  await page.getByRole('textbox', { name: 'Search by name' }).fill('FINDABLE')
  const rows = page.getByRole('row')
  await expect(rows).toHaveCount(2)
  await expect(page).toHaveURL(/name=FINDABLE/)
  await page.getByRole('link', { name: 'findable' }).click()
  await page.getByRole('button', { name: 'Rename' }).click()
  await page.getByRole('dialog').getByRole('textbox').fill('found')
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'found' })).toBeVisible()
  await page.getByRole('button', { name: 'Delete model' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Delete model' }).click()
  await expect(page).toHaveURL(/#\/models$/)
  await open(page, service, `/models/${model}`)
  await expect(page.getByRole('alert')).toContainText(`there is no model \`${model}\``)
})
