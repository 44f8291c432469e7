/** Gives the focus back to what had it when a dialog was opened. */
export function opener(): () => void {
  const had = document.activeElement
  return () => had instanceof HTMLElement && had.isConnected && had.focus()
}
