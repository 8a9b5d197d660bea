/**
 * A network between a server and its database that can be cut: connections to the relay go on to the database, until it
 * is told otherwise.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export class Relay {
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  #server: Server;
  #port = 0;
  #silent = false;
  /** What was sent to the database, byte for byte. */
  sent = '';

  private constructor(databaseUrl: string) {
    this.#target = new URL(databaseUrl);
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async to(databaseUrl: string): Promise<Relay> {
    const relay = new Relay(databaseUrl);
    await relay.restore();
    return relay;
  }

  /** The database's address through the relay. */
  get url(): string {
    const url = new URL(this.#target);
    url.host = `127.0.0.1:${this.#port}`;
    return url.href;
  }

  /** Another database server from now on. */
  leadTo(databaseUrl: string): void {
    const { host } = new URL(databaseUrl);
    this.#target.host = host;
  }

  /** Connections break, new ones are refused. */
  async cut(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Connections stay, new ones are taken, and nothing ever comes back: a firewall, a failed switch. */
  fallSilent(): void {
    this.#silent = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** What hung is gone; from now on all goes through again. */
  async restore(): Promise<void> {
    this.#silent = false;
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) return;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address && typeof address === 'object') this.#port = address.port;
  }

  #accept(near: Socket): void {
    const far = connect(Number(this.#target.port || 5432), this.#target.hostname);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      socket
        .on('error', () => undefined)
        .on('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
      socket.pipe(other);
    }
    near.on('data', (bytes: Buffer) => {
      this.sent += bytes.toString('latin1');
    });
    if (this.#silent) for (const socket of [near, far]) socket.pause();
  }
}
