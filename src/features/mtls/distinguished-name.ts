/**
 * Distinguished names, as text: RFC 4514, and the text OpenSSL makes of a certificate's subject.
 *
 * Both become one canonical form, and two names are the same when their forms are: the same number of relative names in the
 * same order, in each the same attributes (by object identifier) with the same values, character by character. Nothing is
 * folded: another case, another number of spaces or another order is another name, so a name that merely looks like a
 * registered one stays another one. Text that does not parse, and an attribute whose name is not known, is equal to nothing.
 */

/**
 * Attribute types by the short names OpenSSL prints (they are case-sensitive: `UID` and `uid` are two). RFC 4514 §3 has
 * some of them too; every other type is written as its object identifier.
 */
const TYPES: Readonly<Record<string, string>> = {
  CN: '2.5.4.3',
  SN: '2.5.4.4',
  serialNumber: '2.5.4.5',
  C: '2.5.4.6',
  L: '2.5.4.7',
  ST: '2.5.4.8',
  street: '2.5.4.9',
  O: '2.5.4.10',
  OU: '2.5.4.11',
  title: '2.5.4.12',
  description: '2.5.4.13',
  businessCategory: '2.5.4.15',
  postalAddress: '2.5.4.16',
  postalCode: '2.5.4.17',
  postOfficeBox: '2.5.4.18',
  physicalDeliveryOfficeName: '2.5.4.19',
  telephoneNumber: '2.5.4.20',
  name: '2.5.4.41',
  GN: '2.5.4.42',
  initials: '2.5.4.43',
  generationQualifier: '2.5.4.44',
  x500UniqueIdentifier: '2.5.4.45',
  dnQualifier: '2.5.4.46',
  houseIdentifier: '2.5.4.51',
  pseudonym: '2.5.4.65',
  role: '2.5.4.72',
  organizationIdentifier: '2.5.4.97',
  c3: '2.5.4.98',
  n3: '2.5.4.99',
  dnsName: '2.5.4.100',
  UID: '0.9.2342.19200300.100.1.1',
  mail: '0.9.2342.19200300.100.1.3',
  DC: '0.9.2342.19200300.100.1.25',
  uid: '0.9.2342.19200300.100.1.44',
  emailAddress: '1.2.840.113549.1.9.1',
  unstructuredName: '1.2.840.113549.1.9.2',
  unstructuredAddress: '1.2.840.113549.1.9.8',
  jurisdictionL: '1.3.6.1.4.1.311.60.2.1.1',
  jurisdictionST: '1.3.6.1.4.1.311.60.2.1.2',
  jurisdictionC: '1.3.6.1.4.1.311.60.2.1.3',
};

/** RFC 4512 §1.4: in LDAP's notation the case of a name does not count; RFC 4519 §2.12, §2.39 name two otherwise than OpenSSL. */
const LDAP_TYPES = new Map([
  ...Object.entries(TYPES).map(([name, oid]): [string, string] => [name.toLowerCase(), oid]),
  ['givenname', TYPES.GN ?? ''],
  ['uid', TYPES.UID ?? ''],
]);

const OID = /^[0-2](?:\.(?:0|[1-9]\d*))+$/;

/**
 * One attribute and what separates it from the next: RFC 4514 §3. Spaces around names and separators are taken, as older
 * notations put them there; inside a value, spaces that count at its ends are escaped.
 */
const ATTRIBUTE =
  / *([A-Za-z][A-Za-z0-9-]*|[0-9.]+) *= *(#(?:[0-9A-Fa-f]{2})+|(?!#)(?:\\[ "#+,;<=>\\]|\\[0-9A-Fa-f]{2}|[^\\"+,;<>\0\r\n])*?) *([,+\n]|$)/y;

/** @returns the canonical form of a name in RFC 4514 notation, or `undefined` for what is none */
export function parseName(text: string): string | undefined {
  return canonical(text, ',', (name) => LDAP_TYPES.get(name.toLowerCase()))
    ?.toReversed()
    .join('\n');
}

/**
 * @param subject as node:crypto has it: one relative name a line, in the certificate's order (RFC 4514 has the reverse),
 *   escaped as RFC 2253 says
 */
export function nameOfSubject(subject: string): string | undefined {
  return canonical(subject, '\n', (name) => TYPES[name])?.join('\n');
}

function canonical(
  text: string,
  separator: ',' | '\n',
  typeOf: (name: string) => string | undefined,
): string[] | undefined {
  const names: string[] = [];
  let attributes: string[] = [];
  ATTRIBUTE.lastIndex = 0;
  for (let end: string | undefined; end !== ''; ) {
    const [, type = '', value = '', followed] = ATTRIBUTE.exec(text) ?? [];
    if (followed === undefined) return undefined;
    const oid = OID.test(type) ? type : typeOf(type);
    const plain = unescaped(value);
    if (oid === undefined || plain === undefined || !['', '+', separator].includes(followed)) return undefined;
    attributes.push(JSON.stringify([oid, plain]));
    if (followed !== '+') {
      // The attributes of one relative name are a set: their order says nothing.
      names.push(attributes.sort().join('+'));
      attributes = [];
    }
    end = followed;
  }
  return names;
}

/** RFC 4514 §2.4: escapes stand for characters or for bytes of UTF-8. */
function unescaped(value: string): string | undefined {
  if (value.startsWith('#')) return stringOf(Buffer.from(value.slice(1), 'hex'));
  const parts = value.match(/\\[0-9A-Fa-f]{2}|\\?./gsu) ?? [];
  const bytes = parts.map((part) => {
    if (!part.startsWith('\\')) return Buffer.from(part);
    return part.length === 3 ? Buffer.from(part.slice(1), 'hex') : Buffer.from(part.slice(1));
  });
  return utf8(Buffer.concat(bytes));
}

/** Tags of UTF8String, PrintableString, IA5String: what certificates write text as (RFC 5280 §4.1.2.4). */
const TEXT_TAGS = [0x0c, 0x13, 0x16];

/** The text in an encoded value (`#0C0548656C6C6F`): tag, length in a byte, content. RFC 4514 §2.4 wants it with bare object identifiers. */
function stringOf(encoded: Buffer): string | undefined {
  const [tag = 0, length = 0] = encoded;
  return TEXT_TAGS.includes(tag) && length < 128 && length === encoded.length - 2
    ? utf8(encoded.subarray(2))
    : undefined;
}

function utf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
