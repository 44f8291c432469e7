/** Light or dark: as the system has it, until somebody chooses. */

import { ref, watchEffect } from 'vue'
import { keep, kept } from './storage'

export type Theme = 'system' | 'light' | 'dark'

const KEY = 'trainyard.theme'

function stored(): Theme {
  const value = kept(KEY)
  return value === 'light' || value === 'dark' ? value : 'system'
}

const prefersDark = window.matchMedia('(prefers-color-scheme: dark)')
const systemIsDark = ref(prefersDark.matches)
prefersDark.addEventListener('change', (event) => (systemIsDark.value = event.matches))

export const theme = ref<Theme>(stored())
/** Whether the page is dark now; charts, whose colours are no style, look at it. */
export const dark = ref(false)

watchEffect(() => {
  dark.value = theme.value === 'dark' || (theme.value === 'system' && systemIsDark.value)
  document.documentElement.classList.toggle('dark', dark.value)
  keep(KEY, theme.value)
})
