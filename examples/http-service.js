// @ts-check
/**
 * An HTTP service that stops gracefully. A request ends its commands when its client has gone; on SIGTERM the service
 * takes no more requests, finishes those that it has, closes the client, and the process exits by itself.
 */
import { createServer } from 'node:http'
import { createClient, RespoolError } from 'respool'

const redis = createClient(process.env.RESPOOL_URL ?? 'redis://127.0.0.1:6379')
await redis.ready() // no server, no service

const server = createServer(async (request, response) => {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const own = redis.with({ signal: gone.signal, timeout: 2_000 })
  try {
    const visits = await own.incr(`visits:${request.url}`)
    response.end(`visit ${visits}\n`)
  } catch (error) {
    if (!(error instanceof RespoolError)) throw error
    // a failover that takes longer than the request may, a server that is down: the client looks for it
    response.writeHead(503, { 'retry-after': '1' }).end(`${error.code}\n`)
  }
})

process.once('SIGTERM', () => {
  server.close(() => void redis.close())
  server.closeIdleConnections()
  setTimeout(() => {
    server.closeAllConnections()
    redis.destroy()
  }, 10_000).unref() // who has not finished by then never will
})

server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on ${JSON.stringify(server.address())}`)
})
