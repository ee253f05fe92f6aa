import { connect } from 'node:net'
import { errorText, type Command } from '../context.ts'

/** `fd-forward SOCKET`: copies stdin to a unix socket and back until one of them ends. */
export const fdForward: Command = async (context, _flags, args) => {
  const [path] = args
  if (path === undefined || args.length > 1) {
    context.tell('Provide a single argument')
    return 1
  }
  const socket = connect(path)
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
  } catch (error) {
    context.tell(`Failed dialing remote address: ${errorText(error)}`)
    return 1
  }
  process.stdin.pipe(socket, { end: false })
  socket.pipe(process.stdout, { end: false })
  await new Promise<void>((resolve) => {
    for (const event of ['end', 'close', 'error']) socket.once(event, () => resolve())
    for (const event of ['end', 'error']) process.stdin.once(event, () => resolve())
  })
  process.stdin.unpipe(socket)
  process.stdin.destroy()
  socket.destroy()
  return 0
}
