/** From the form to a trained model, its clone with a change, both compared, and a sweep. */

import { expect, open, test, WEATHER } from './service'

test.beforeAll(async ({ service }) => service.stepper())

test('a training is filled in, started, cloned and compared', async ({ page, service }) => {
  await open(page, service, '/train')
  await page.getByLabel('Name', { exact: true }).fill('by hand')
  await page.getByRole('combobox', { name: 'Algorithm' }).selectOption({ label: 'stepper – Takes as many steps as it is told' })
  const steps = page.getByRole('spinbutton', { name: 'steps' }).or(page.getByRole('textbox', { name: 'steps' }))
  await steps.fill('0')
  await steps.blur()
  await expect(page.getByText('1 to 1000000').first()).toBeVisible()
  await steps.fill('25')

  await page.getByText('Upload a file here').click()
  await page.locator('input[type=file]').setInputFiles(WEATHER)
  await page.getByRole('checkbox', { name: 'temp_max' }).first().check({ timeout: 30_000 })
  // The split stands on the series, with its rows.
  await expect(page.getByText(/1,?023/).first()).toBeVisible()
  await expect(page.getByText('"steps": 25').or(page.getByText('"steps":25')).first()).toBeVisible()
  await page.getByRole('button', { name: 'Start the training' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'by hand' })).toBeVisible()
  await expect(page.locator('[data-status=TRAINED]').first()).toBeVisible({ timeout: 60_000 })

  await page.getByRole('link', { name: 'Train with changes' }).first().click()
  await expect(page.getByRole('heading', { level: 1 })).toContainText('with changes')
  await steps.fill('35')
  await page.getByRole('button', { name: 'Start the training' }).click()
  await expect(page.locator('[data-status=TRAINED]').first()).toBeVisible({ timeout: 60_000 })
  const choices = page.getByRole('checkbox', { name: /Choose run/ })
  await expect(choices).toHaveCount(2)
  await choices.first().check()
  await choices.last().check()
  await page.getByRole('link', { name: 'Compare 2' }).click()
  await expect(page.getByRole('row', { name: /^steps/ })).toContainText('25')
  await expect(page.getByRole('row', { name: /^steps/ })).toContainText('35')
  await expect(page.getByRole('img', { name: /validation_loss/ }).first()).toBeVisible()
})

test('a sweep is shown with its best trial', async ({ page, service }) => {
  const dataset = await service.weather()
  const model = await service.model('swept', dataset, { steps: 5 })
  const sweep = await service.call<{ id: number }>('POST', `/models/${model}/sweep`, {
    space: { steps: [2, 4, 8], learning_rate: [0.1, 0.2] },
    method: 'grid',
  })
  await open(page, service, `/sweeps/${sweep.id}`)
  await expect(page.locator('[data-status=FINISHED]').first()).toBeVisible({ timeout: 60_000 })
  await expect(page.getByRole('row', { name: /Trial \d/ })).toHaveCount(6)
  await expect(page.getByText('★ best')).toBeVisible()
  await expect(page.getByText('6 of 6 trials are over')).toBeVisible()
})
