/** Once there is a token, the page wants one; it is kept in this tab alone unless its owner wants otherwise, and never in a URL. */

import { expect, open, Service, test } from './service'

// One of its own: the others have no token.
const service = new Service()
test.beforeAll(() => service.start())
test.afterAll(() => service.end())

test('one signs in with a token, stays signed in over a reload, and signs out', async ({ page, context }) => {
  const { secret } = await service.call<{ secret: string }>('POST', '/tokens', { name: 'tester', scopes: ['admin'] })
  service.token = secret
  const asked: string[] = []
  page.on('request', (request) => asked.push(request.url()))

  await open(page, service, '/models')
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible()
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('alert')).toContainText('Paste a token first')
  await page.getByLabel('Token', { exact: true }).fill('ty_wrong')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('alert')).toContainText('unknown, expired or revoked')
  await page.getByLabel('Token', { exact: true }).fill(secret)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Models' })).toBeVisible()
  await page.reload()
  await expect(page.getByRole('heading', { level: 1, name: 'Models' })).toBeVisible()

  // Another tab knows nothing of it.
  const other = await context.newPage()
  await other.goto(`${service.url}/#/models`)
  await expect(other.getByLabel('Token', { exact: true }).or(other.getByLabel('令牌', { exact: true }))).toBeVisible()
  await other.close()

  // Live streams and downloads work, without the secret in any address.
  await service.stepper()
  const model = await service.model('signed', await service.weather(), { steps: 400 })
  await service.train(model)
  await page.goto(`${service.url}/#/models/${model}`)
  await expect(page.getByText('Live', { exact: true })).toBeVisible()
  await expect(page.locator('[data-status=TRAINED]').first()).toBeVisible({ timeout: 60_000 })
  await page.getByRole('button', { name: 'Show report' }).click()
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Description' }).click()])
  expect(download.suggestedFilename()).toBe('model.json')
  expect(await download.failure()).toBeNull()
  expect(asked.filter((url) => url.includes(secret))).toEqual([])
  expect(await context.cookies()).toEqual([])

  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible()
  expect(await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }]))).not.toContain(secret)
})
