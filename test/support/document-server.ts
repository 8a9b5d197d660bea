/** What a client publishes at an address of its own: its keys, its redirect URIs. On loopback, over real HTTP. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface DocumentServer {
  readonly origin: string;
  /** Paths that were asked for, in order. */
  readonly asked: readonly string[];
  /** Answers from now on with this at every path: JSON, or whatever a function does. */
  serve(document: unknown): void;
  close(): Promise<void>;
}

export async function startDocumentServer(): Promise<DocumentServer> {
  let answer: unknown = {};
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    if (typeof answer === 'function') (answer as (response: ServerResponse) => void)(response);
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    serve(document) {
      answer = document;
    },
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
