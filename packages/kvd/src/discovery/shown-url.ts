/** A URL for the log: a password in it is not shown. */
export function shownUrl(text: string): string {
  return text.replace(/^((?:[a-z][a-z0-9+.-]*:\/\/)?[^/?#@:]*):[^/?#@]*@/i, '$1:xxxxx@')
}
