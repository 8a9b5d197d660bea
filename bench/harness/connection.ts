/**
 * A keep-alive HTTP/1.1 connection for a closed loop: one request, its answer, the next request.
 *
 * The generator shares its core with PostgreSQL, so what it costs is taken from the database: `fetch` and `node:http`
 * spend more on a request than some of the servers under test. This one writes prebuilt buffers, reads no more of an
 * answer than status, length and what a script looks for, and calls back instead of making promises. It is no general
 * client: no pipelining, no redirects, no TLS, and the one {@link Answer} of a connection is good until the next request.
 */
import { connect, type Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  /** Status line and headers, as received. */
  readonly head: string;
  /** In Latin-1; still in its chunks where the server sent it so. */
  readonly body: string;
}

const HEAD_END = '\r\n\r\n';
const LAST_CHUNK = '0\r\n\r\n';
const LENGTH = /\r\ncontent-length: *(\d+)/i;
const LAST_ANSWER = /\r\nconnection: *close/i;
const CHUNKED = /\r\ntransfer-encoding: *chunked/i;

export class Connection {
  readonly #port: number;
  readonly #answer = { status: 0, head: '', body: '' };
  #socket: Socket;
  #text = '';
  /** Where the answer ends: -1 while its head is not there, 0 where the last chunk tells. */
  #end = -1;
  #bodyStart = 0;
  #waiting: ((answer: Answer | undefined) => void) | undefined;

  constructor(port: number) {
    this.#port = port;
    this.#socket = this.#open();
  }

  /**
   * Sends a request.
   * @param onAnswer told of the answer, or of `undefined` when the connection broke before it was complete
   */
  send(request: Buffer, onAnswer: (answer: Answer | undefined) => void): void {
    this.#waiting = onAnswer;
    this.#text = '';
    this.#end = -1;
    if (this.#socket.destroyed) this.#socket = this.#open();
    this.#socket.write(request);
  }

  /** The same as a promise, for what is not measured. */
  ask(request: Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.send(request, (answer) => {
        if (answer) resolve({ ...answer });
        else reject(new Error(`The connection to port ${this.#port} broke.`));
      });
    });
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #open(): Socket {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    // What went wrong does not matter: 'close' follows, and the request counts as failed.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (socket === this.#socket) this.#tell(undefined);
    });
    return socket;
  }

  #receive(chunk: Buffer): void {
    this.#text += chunk.toString('latin1');
    if (this.#end < 0) {
      const headEnd = this.#text.indexOf(HEAD_END);
      if (headEnd < 0) return;
      this.#bodyStart = headEnd + HEAD_END.length;
      this.#answer.head = this.#text.slice(0, headEnd);
      this.#answer.status = Number(this.#text.slice(9, 12));
      const length = LENGTH.exec(this.#answer.head);
      this.#end = CHUNKED.test(this.#answer.head) ? 0 : this.#bodyStart + Number(length?.[1] ?? 0);
    }
    const complete = this.#end === 0 ? this.#text.endsWith(LAST_CHUNK) : this.#text.length >= this.#end;
    if (!complete) return;
    this.#answer.body = this.#text.slice(this.#bodyStart);
    // A worker with more connections than the others asks for it; the next request opens another one.
    if (LAST_ANSWER.test(this.#answer.head)) this.#socket.destroy();
    this.#tell(this.#answer);
  }

  #tell(answer: Answer | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(answer);
  }
}

/** The value of a header; of several of one name, the first. */
export function headerOf({ head }: Answer, name: string): string | undefined {
  return new RegExp(`\\r\\n${name}: *([^\\r]*)`, 'i').exec(head)?.[1];
}

/** The value of a member of a JSON object whose value is a text without escapes, as tokens are. */
export function memberOf({ body }: Answer, name: string): string | undefined {
  const marker = `"${name}":"`;
  const start = body.indexOf(marker);
  if (start < 0) return undefined;
  return body.slice(start + marker.length, body.indexOf('"', start + marker.length));
}
