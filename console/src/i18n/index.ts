/**
 * Chinese and English. Each part of the page has its words in a file of its own, `en/PART.ts`, and `zh/PART.ts` has the
 * same ones (its type sees to it). Only the language that is shown is loaded.
 */

import type { Language as Elements } from 'element-plus/es/locale'
import { shallowRef } from 'vue'
import { createI18n } from 'vue-i18n'
import { keep, kept } from '@/lib/storage'
import type en from './en'

export type Language = 'en' | 'zh'
export const LANGUAGES: Record<Language, string> = { zh: '中文', en: 'English' }

const KEY = 'trainyard.language'

interface Loaded {
  words: typeof en
  /** The component library's words; it speaks English by itself. */
  library?: Elements
}

const LOAD: Record<Language, () => Promise<Loaded>> = {
  en: async () => ({ words: (await import('./en')).default }),
  zh: async () => {
    const [words, library] = await Promise.all([import('./zh'), import('element-plus/es/locale/lang/zh-cn')])
    return { words: words.default as typeof en, library: library.default }
  },
}

/** As chosen before; else Chinese where the browser prefers it. */
export function preferred(chosen: string | null, browser: readonly string[]): Language {
  if (chosen === 'en' || chosen === 'zh') return chosen
  return browser[0]?.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

export const i18n = createI18n({ legacy: false, locale: 'en' as Language, fallbackLocale: false, messages: {} })

/** The component library's words. */
export const elements = shallowRef<Elements>()

async function show(language: Language): Promise<void> {
  const { words, library } = await LOAD[language]()
  i18n.global.setLocaleMessage(language, words)
  elements.value = library
  i18n.global.locale.value = language
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en'
}

/** Loads the language that its reader has chosen, or that the browser prefers. */
export const begin = (): Promise<void> => show(preferred(kept(KEY), navigator.languages))

export function choose(language: Language): Promise<void> {
  keep(KEY, language)
  return show(language)
}
