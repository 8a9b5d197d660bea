/** A client's back-channel logout receiver on loopback: it keeps what comes, and answers as it is told. */
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface Received {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The `logout_token`, or what else it came as: an empty text. */
  readonly token: string;
}

export class LogoutReceiver {
  readonly received: Received[] = [];
  /** A status; or nothing at all until {@link release}. */
  answer: number | 'hold' = 200;
  /** Goes along with every answer. */
  headers: Record<string, string> = {};
  readonly #server: Server;
  readonly #held: ServerResponse[] = [];
  #port = 0;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const body = await text(request).catch(() => '');
      const token = new URLSearchParams(body).get('logout_token') ?? '';
      this.received.push({ method: request.method ?? '', headers: request.headers, body, token });
      if (this.answer === 'hold') this.#held.push(response);
      else response.writeHead(this.answer, this.headers).end();
    });
  }

  static async start(): Promise<LogoutReceiver> {
    const receiver = new LogoutReceiver();
    await receiver.listen();
    return receiver;
  }

  get uri(): string {
    return `http://127.0.0.1:${this.#port}/logout`;
  }

  /** Listens (again), where it listened before. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Answers all that was held. */
  release(status: number): void {
    for (const response of this.#held.splice(0)) response.writeHead(status).end();
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
