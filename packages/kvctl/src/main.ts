export async function main(_argv: readonly string[], _env: NodeJS.ProcessEnv): Promise<number> {
  return 1
}
