import { defineConfig } from '@playwright/test'

/** The browser of the system, against a real `trainyard up` (`tests/e2e/service.ts`). */
export default defineConfig({
  testDir: 'tests/e2e',
  outputDir: process.env.TRAINYARD_TEST_OUTPUT ?? 'test-results',
  // Each has trainings under way.
  workers: 1,
  timeout: 120_000,
  expect: { timeout: 20_000 },
  retries: 0,
  forbidOnly: Boolean(process.env.CI),
  reporter: [['list']],
  use: {
    browserName: 'chromium',
    launchOptions: {
      executablePath: process.env.TRAINYARD_CHROMIUM ?? '/usr/bin/chromium',
      // A sandbox of its own cannot be had as root in a container; the pages are ours.
      args: ['--no-sandbox'],
    },
    locale: 'en-US',
    screenshot: 'only-on-failure',
  },
})
