/**
 * A browser in requests: keeps cookies, follows redirects on the server, fills in the forms it is shown, until it is sent to
 * the client. It is a script, so it signs people in before a measurement, and is one where signing in is measured.
 */
import { type Answer, headerOf } from '../harness/connection.ts';
import type { Script } from '../harness/load.ts';
import { ISSUER } from '../harness/request.ts';
import { PASSWORD, REDIRECT } from '../servers/cast.ts';
import type { Requests } from '../servers/target.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#39;': "'",
};
const SET_COOKIE = /\r\nset-cookie: *([^=]+)=([^;\r]*)/gi;
const FROM_OUR_PAGE = { Origin: ISSUER, 'Sec-Fetch-Site': 'same-origin' };

export class Browser implements Script {
  readonly #requests: Requests;
  readonly #path: string;
  readonly #username: string;
  readonly #cookies = new Map<string, string>();
  readonly #forgets: boolean;
  readonly #stopsAtLogin: boolean;
  /** The filled-in form it stopped at. */
  login: Buffer | undefined;

  /**
   * @param path the authorization request
   * @param options.forgets whether each iteration begins without cookies, as a new browser
   * @param options.stopsAtLogin whether it ends with the form of the login page, which is not sent
   */
  constructor(requests: Requests, path: string, username: string, { forgets = false, stopsAtLogin = false } = {}) {
    this.#requests = requests;
    this.#path = path;
    this.#username = username;
    this.#forgets = forgets;
    this.#stopsAtLogin = stopsAtLogin;
  }

  begin(): Buffer {
    if (this.#forgets) this.#cookies.clear();
    return this.#get(this.#path);
  }

  answered(answer: Answer): Buffer | 'done' | 'failed' {
    this.#keepCookies(answer);
    const location = headerOf(answer, 'location');
    if (location !== undefined) {
      if (location.startsWith(REDIRECT)) return codeIn(answer) === undefined ? 'failed' : 'done';
      const { pathname, search, origin } = new URL(location, ISSUER);
      return origin === ISSUER ? this.#get(pathname + search) : 'failed';
    }
    if (answer.status !== 200) return 'failed';
    const filledIn = this.#fillIn(answer.body);
    if (!filledIn || !this.#stopsAtLogin) return filledIn ?? 'failed';
    this.login = filledIn;
    return 'done';
  }

  /** What is sent along by now. */
  get cookie(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  #get(path: string): Buffer {
    return this.#requests.get(path, this.#cookies.size > 0 ? { Cookie: this.cookie } : {});
  }

  #keepCookies({ head }: Answer): void {
    for (const [, name = '', value = ''] of head.matchAll(SET_COOKIE)) {
      if (value === '') this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
  }

  /** Signs in or agrees, whichever the page asks for. */
  #fillIn(page: string): Buffer | undefined {
    const [, action = '', inner = ''] = /<form[^>]*action="([^"]*)"[^>]*>([\s\S]*?)<\/form>/.exec(page) ?? [];
    const values: Readonly<Record<string, string>> | undefined = {
      '/login': { username: this.#username, password: PASSWORD },
      '/consent': { decision: 'allow' },
    }[action];
    if (!values) return undefined;
    const given = [...inner.matchAll(/<input[^>]*type="hidden"[^>]*>/g)].map(([input]): [string, string] => [
      /name="([^"]*)"/.exec(input)?.[1] ?? '',
      decoded(/value="([^"]*)"/.exec(input)?.[1] ?? ''),
    ]);
    const form = new URLSearchParams([...given, ...Object.entries(values)]).toString();
    return this.#requests.form(action, { ...FROM_OUR_PAGE, Cookie: this.cookie })(form);
  }
}

function decoded(text: string): string {
  return text.replace(/&(?:amp|lt|gt|quot|#39);/g, (entity) => ENTITIES[entity] ?? entity);
}

const CODE = /\r\nlocation: *[^\r]*[?&]code=([^&\r]+)/i;

/** The authorization code that an answer sends to the client. */
export function codeIn({ head }: Answer): string | undefined {
  return CODE.exec(head)?.[1];
}
