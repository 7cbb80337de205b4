// Wires to begin with: each feature of the protocol once, then what is hard about it. They are what random tests
// damage (test/support/mutate.ts) and what a guided run starts from (run.js). Bytes are written as characters, one
// for each.

const wires: readonly string[] = [
  // RESP2
  '+OK\r\n-ERR unknown command\r\n:1\r\n:-12\r\n:+7\r\n$6\r\nfoobar\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n',
  '*4\r\n$3\r\nfoo\r\n:5\r\n*2\r\n+a\r\n$-1\r\n-WRONGTYPE b\r\n',
  ':999999999999999\r\n:1234567890123456\r\n:9007199254740991\r\n:9007199254740993\r\n:-9223372036854775808\r\n',
  '*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n',
  '$8\r\n\r\n$1\r\na\r\r\n$5\r\n\u00c3\u00a9\u00ff\u00f0\u009f\r\n',
  // RESP3
  '_\r\n#t\r\n#f\r\n,1.5\r\n,-0\r\n,inf\r\n,-inf\r\n,nan\r\n,1e3\r\n,10.\r\n,-1.5E+30\r\n',
  '(123456789012345678901\r\n(-5\r\n(+0\r\n!9\r\nERR a\r\nbc\r\n=8\r\ntxt:abcd\r\n=4\r\nmkd:\r\n',
  '%2\r\n+first\r\n:1\r\n$6\r\nsecond\r\n*1\r\n_\r\n',
  '%3\r\n+__proto__\r\n:1\r\n+__proto__\r\n:2\r\n*0\r\n~0\r\n',
  '~4\r\n+a\r\n+a\r\n:1\r\n$1\r\na\r\n%0\r\n~0\r\n',
  '>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n$2\r\nok\r\n>0\r\n>1\r\n$?\r\n;1\r\nx\r\n;0\r\n',
  '|1\r\n+ttl\r\n:3600\r\n*2\r\n:1\r\n|1\r\n$1\r\nk\r\n%1\r\n+a\r\n#t\r\n:2\r\n|0\r\n+x\r\n',
  '|1\r\n|1\r\n+a\r\n+b\r\n+c\r\n|1\r\n+d\r\n+e\r\n+f\r\n>1\r\n|1\r\n+a\r\n$1\r\nb\r\n$1\r\nc\r\n',
  // Streams
  '$?\r\n;4\r\nHell\r\n;2\r\no!\r\n;0\r\n$?\r\n;0\r\n$?\r\n;1\r\n\u00c3\r\n;1\r\n\u00a9\r\n;0\r\n',
  '*?\r\n:1\r\n*?\r\n.\r\n~?\r\n+a\r\n+a\r\n.\r\n%?\r\n+a\r\n$?\r\n;1\r\nb\r\n;0\r\n+a\r\n:2\r\n.\r\n.\r\n',
  '%?\r\n|1\r\n+a\r\n+b\r\n+k\r\n|1\r\n+a\r\n+b\r\n+v\r\n.\r\n',
  // Each limit of `tightLimits`, just kept and just broken
  '$40\r\n0123456789012345678901234567890123456789\r\n$41\r\n',
  '$?\r\n;20\r\n01234567890123456789\r\n;20\r\n01234567890123456789\r\n;1\r\nx\r\n',
  '*12\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n%13\r\n',
  '~?\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n:10\r\n:11\r\n:12\r\n:12\r\n:13\r\n.\r\n',
  '+012345678901234567890123\r\n+0123456789012345678901234\r\n',
  // What is no reply
  'HTTP/1.1 400 Bad Request\r\n\r\n',
  '$536870912\r\nabc',
  '$-5\r\n*4294967295\r\n$99999999999\r\n$x\r\n+OK\n',
]

export const corpus: readonly Buffer[] = wires.map((wire) => Buffer.from(wire, 'latin1'))
