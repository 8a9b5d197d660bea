/** Signatures that no signer makes, for whoever verifies with something else than jose to be held against it. */
import fc from 'fast-check';

type Forgery = readonly [what: string, forge: (good: Buffer) => Buffer];

/** Lengths and constants, of any algorithm. */
const ANY: readonly Forgery[] = [
  ['the good one', (good) => good],
  ['nothing but zeros', (good) => Buffer.alloc(good.length)],
  ['nothing but ones', (good) => Buffer.alloc(good.length, 255)],
  ['a byte less', (good) => good.subarray(1)],
  ['a byte less at its end', (good) => good.subarray(0, -1)],
  ['a zero before it', (good) => Buffer.concat([Buffer.alloc(1), good])],
  ['a zero after it', (good) => Buffer.concat([good, Buffer.alloc(1)])],
  ['one byte', () => Buffer.alloc(1)],
  ['twice itself', (good) => Buffer.concat([good, good])],
];

/** FIPS 186-5; SP 800-186 §3.2.1.3. */
const P256_ORDER = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
/** RFC 8032 §5.1, little-endian. */
const ED25519_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

export const OTHER_S = 'r and n - s';

const OF_ALG: Readonly<Record<string, readonly Forgery[]>> = {
  ES256: [
    ['the order of the curve as r and s', () => Buffer.concat([P256_ORDER, P256_ORDER])],
    ['zero as s', (good) => Buffer.concat([good.subarray(0, 32), Buffer.alloc(32)])],
    // As good as the other, for everybody who verifies ECDSA.
    [OTHER_S, (good) => Buffer.concat([good.subarray(0, 32), otherS(good.subarray(32))])],
    ['ASN.1, as everybody but JOSE writes it', asn1],
  ],
  EdDSA: [['s and the order more', withOrder]],
  Ed25519: [['s and the order more', withOrder]],
};

/** Every forgery of an algorithm, and the good signature with a byte changed in fifty places. */
export function forgeriesOf(alg: string, good: Buffer): readonly (readonly [what: string, signature: Buffer])[] {
  const changes = fc.sample(fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 })), 50);
  return [
    ...[...ANY, ...(OF_ALG[alg] ?? [])].map(([what, forge]) => [what, forge(good)] as const),
    ...changes.map(([index, bits]) => {
      const changed = Buffer.from(good);
      changed.writeUInt8(good.readUInt8(index) ^ bits, index);
      return [`byte ${index} by ${bits}`, changed] as const;
    }),
  ];
}

function otherS(s: Buffer): Buffer {
  const number = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`);
  return Buffer.from((number(P256_ORDER) - number(s)).toString(16).padStart(64, '0'), 'hex');
}

function asn1(signature: Buffer): Buffer {
  const integer = (bytes: Buffer) => Buffer.concat([Buffer.from([2, bytes.length + 1, 0]), bytes]);
  const body = Buffer.concat([integer(signature.subarray(0, 32)), integer(signature.subarray(32))]);
  return Buffer.concat([Buffer.from([0x30, body.length]), body]);
}

/** RFC 8032 §5.1.7: s must be below the order, or a signature would have others. */
function withOrder(signature: Buffer): Buffer {
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`) + ED25519_ORDER;
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse()]);
}

/**
 * Whether a promise is fulfilled.
 * @param refusal what it may be rejected with: anything else is thrown
 */
export function isFulfilled(
  promise: Promise<unknown>,
  refusal: new (...parameters: never[]) => Error = Error,
): Promise<boolean> {
  return promise.then(
    () => true,
    (error: unknown) => {
      if (!(error instanceof refusal)) throw error;
      return false;
    },
  );
}
