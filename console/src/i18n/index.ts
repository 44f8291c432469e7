/**
 * Chinese and English. Each part of the page has its words in a file of its own, `en/PART.ts`, and `zh/PART.ts` has the
 * same ones (its type sees to it).
 */

import { createI18n } from 'vue-i18n'
import { watchEffect } from 'vue'
import en from './en'
import zh from './zh'

export type Language = 'en' | 'zh'
export const LANGUAGES: Record<Language, string> = { zh: '中文', en: 'English' }

const KEY = 'trainyard.language'

/** As chosen before; else Chinese where the browser prefers it. */
export function preferred(chosen: string | null, browser: readonly string[]): Language {
  if (chosen === 'en' || chosen === 'zh') return chosen
  return browser[0]?.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

function stored(): string | null {
  try {
    return localStorage.getItem(KEY)
  } catch {
    return null
  }
}

export const i18n = createI18n({
  legacy: false,
  locale: preferred(stored(), navigator.languages),
  fallbackLocale: 'en',
  messages: { en, zh },
})

watchEffect(() => {
  document.documentElement.lang = i18n.global.locale.value === 'zh' ? 'zh-CN' : 'en'
})

export function choose(language: Language): void {
  i18n.global.locale.value = language
  try {
    localStorage.setItem(KEY, language)
  } catch {
    // It is chosen anew next time, then.
  }
}
