/** Plugins: dropped, refused in words, stored, written, checked and tried without leaving the page. */

import { readFileSync } from 'node:fs'
import { expect, open, test } from './service'

/** Like the other tests' own, under a name that the service does not know yet. */
const DROPPED = readFileSync(new URL('plugins/stepper.py', import.meta.url), 'utf8').replace('name = "stepper"', 'name = "dropped"')

test('a file is shown as what it is before it is stored, and refused in words', async ({ page, service }) => {
  await open(page, service, '/plugins')
  const choose = page.locator('input[type=file]')
  await choose.setInputFiles({ name: 'broken.py', mimeType: 'text/x-python', buffer: Buffer.from('from trainyard import Algorithm\n\nclass Broken(Algorithm):\n    tasks = ["regression"]\n    x = unknown_name\n') })
  const dialog = page.getByRole('dialog')
  await expect(dialog.getByRole('alert')).toContainText("name 'unknown_name' is not defined")
  await expect(dialog.getByRole('alert')).toContainText('line 5')
  await dialog.getByRole('button', { name: 'Close', exact: true }).first().click()

  await choose.setInputFiles({ name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('hello') })
  await expect(page.getByRole('dialog')).toContainText('ends in .wasm, .py or .zip')
  await page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).first().click()

  await choose.setInputFiles({ name: 'cat.wasm', mimeType: 'application/wasm', buffer: Buffer.from('\u0089PNG not a plugin') })
  await expect(page.getByRole('dialog').getByRole('alert')).toBeVisible()
  await page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).first().click()

  await choose.setInputFiles({ name: 'dropped.py', mimeType: 'text/x-python', buffer: Buffer.from(DROPPED) })
  await expect(page.getByRole('dialog')).toContainText('Nothing is stored yet')
  await expect(page.getByRole('dialog')).toContainText('Takes as many steps as it is told')
  await page.getByRole('dialog').getByRole('button', { name: 'Upload' }).click()
  await expect(page.getByRole('dialog')).toContainText('It is stored')
  await page.getByRole('dialog').getByRole('link', { name: 'Show the plugin' }).click()
  await expect(page.getByRole('heading', { level: 1 })).toContainText('dropped')
  await expect(page.getByRole('row', { name: /learning_rate/ })).toContainText('0.01')
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()])
  expect(readFileSync(await download.path(), 'utf8')).toBe(DROPPED)
})

test('a plugin is written, checked, tried and stored in the page', async ({ page, service }) => {
  await open(page, service, '/editor')
  await expect(page.locator('.cm-content')).toBeVisible()
  await page.getByRole('button', { name: 'Check', exact: true }).click()
  await expect(page.getByText('It can be used:')).toBeVisible()
  await page.getByRole('button', { name: 'Try it' }).click()
  await expect(page.getByRole('img', { name: /loss/ }).first()).toBeVisible({ timeout: 60_000 })
  await expect(page.getByText(/^(mse|mae)$/).first()).toBeVisible()

  // A mistake is shown at its line; the draft outlives a reload.
  await page.locator('.cm-content').click()
  await page.keyboard.press('Control+End')
  await page.keyboard.type('\nraise ValueError("not yet")\n')
  await page.getByRole('button', { name: 'Check', exact: true }).click()
  await expect(page.getByRole('alert')).toContainText('not yet')
  await expect(page.getByRole('button', { name: /Go to line \d+/ })).toBeVisible()
  await page.reload()
  await page.locator('.cm-content').click()
  await page.keyboard.press('Control+End')
  await expect(page.locator('.cm-content')).toContainText('not yet')
})
