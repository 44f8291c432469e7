/** Asks before something that cannot be taken back. */

import { ElMessageBox } from 'element-plus'
import 'element-plus/es/components/message-box/style/css'
import { i18n } from '@/i18n'

export async function sure(asked: { title: string; why: string; yes: string; no?: string }): Promise<boolean> {
  try {
    await ElMessageBox.confirm(asked.why, asked.title, {
      type: 'warning',
      confirmButtonText: asked.yes,
      cancelButtonText: asked.no ?? i18n.global.t('common.action.cancel'),
      // Nobody should do it with an Enter too many.
      autofocus: false,
    })
    return true
  } catch {
    return false
  }
}
