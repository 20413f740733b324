//! What `--help` prints.

pub(super) const HELP: &str = "\
moonwire: WebSocket scripts in Luau, without an async runtime

Usage: moonwire run [OPTIONS] FILE [ARGS...]   run a Luau script
       moonwire echo [OPTIONS]                 run the WebSocket echo server
       moonwire types                          print the types of all a script sees,
                                               for luau-lsp
       moonwire --version | --help

`moonwire run --help` and `moonwire echo --help` list the options.
";

pub(super) const RUN_HELP: &str = "\
Usage: moonwire run [OPTIONS] FILE [ARGS...]

Runs a Luau script until none of its threads can run again. FILE is a path, or -
for standard input; ARGS reach the script as `...`.

  --echo[=ws|wss]         start an echo server on a free loopback port and pass
                          its URL as first argument; wss: over TLS, with a
                          certificate that only this run trusts
  --ca FILE               trust the certificates in FILE (PEM) as well; so does
                          the variable SSL_CERT_FILE
  --system-roots          trust the roots of the system instead of those that are built
                          in (only in a build with the feature system-roots)
  --cert FILE --key FILE  the certificate to show to servers that ask for one, with its
                          chain, and its key: PEM, not encrypted
  --pin sha256/BASE64     besides all else, the key of the server's certificate or of one
                          that vouches for it has to have this SHA-256; given several
                          times, one of them
  --tls-min 1.2|1.3       speak no older version of TLS (1.2)
  --insecure              do not verify certificates of localhost and of loopback
                          addresses; those of others are verified as ever
  --resolve HOST:PORT:ADDRESS[:PORT]
                          connect to ADDRESS for HOST:PORT; TLS still expects HOST
  --secret NAME=@FILE     what HttpService:GetSecret(NAME) gives: the text of FILE, less
                          one line end at its end; without the option, the variable
                          MOONWIRE_SECRET_NAME
  --stream-clients N      WebStreamClients that may be unfinished at a time (6)
  --connect-timeout S     time for resolve, connect, TLS and handshake (30)
  --opening N             opening handshakes at a time with one address (1, as RFC 6455
                          demands); the others wait for their turn, which does not
                          count against their time
  --timeout S             end the run after S seconds, with status 124
  --exit-timeout S        when the script has ended, wait at most S seconds for what it
                          has sent to leave; otherwise as long as the line moves
  --allow PLACE           let the script connect to PLACE only, and to further ones given
                          so: HOST, *.HOST, ADDRESS or ADDRESS/BITS, with :PORT or without.
                          With an address among them any name is asked of DNS, to see
                          where it leads; a name that a proxy resolves has to be in the
                          list itself
  --deny-private          no address of this machine or its networks, whatever a name
                          resolves to; the server of --echo is excepted from both, and so
                          are the proxies given here. A proxy that resolves names may
                          connect to what it likes: then only addresses, and localhost,
                          are denied
  --proxy URL             go through this proxy: http://, https://, socks5:// (names are
                          resolved here) or socks5h:// (by the proxy), with USER:PASSWORD@
                          before the host or without; an empty URL: none. Otherwise the
                          variables HTTP_PROXY (ws:// too), HTTPS_PROXY (wss:// too) and
                          ALL_PROXY say which; names in lower case come first
  --no-proxy LIST         hosts (and what is below them), addresses, networks, with :PORT
                          or without, between commas, that no proxy is used for; * for all.
                          Otherwise the variable NO_PROXY
  --proxy-header 'NAME: VALUE'
                          send this to an HTTP proxy as well; it may be repeated
  --allow-script-proxy    let the script choose a proxy (option Proxy); with --deny-private
                          names are resolved here (socks5://), unless a proxy given here
                          resolves them
  --allow-unix            let the script name Unix sockets (ws+unix:/run/app.sock:/path)
  --compress              offer to compress the messages of WebSockets, where the script
                          does not say otherwise (Compress); not for secrets beside text
                          that others choose (only in a build with the feature deflate)
  --compressed            ask the servers of streams (SSE, RawStream) for compressed answers
                          and decode them; not for secrets beside text that others choose
                          (only in a build with the feature deflate)
  --memory MIB            memory of the script, with the texts of its secrets; what goes
                          beyond ends the run. What it has sent and the network has not
                          taken is not counted: at most 16 MiB a connection
  --time-limit S          time for which the script may run without a pause; what it
                          spawns meanwhile counts, and what takes longer is raised at
  --connections N         connections at a time (8192)
  --max-message BYTES     bytes of a message, or of an event of an event stream, unless the
                          script says so itself (MaxMessageSize); K, M or G behind the
                          number: KiB, MiB, GiB (64M, and 1M of an event stream)
  --also FILE             run FILE, too, beside the script, with the same ARGS; given
                          several times, several. Each has globals of its own
  --prefix                the name of a script before each line that it prints, or that
                          is said of it
  --poll-thread           network on a thread of its own all the time
  --no-stand-in           no thread that takes over the network while the script
                          computes for longer than 20 ms: pings wait then
  --trace                 each frame and change of state as a line on standard error
  --help                  this text

Where the variable SSLKEYLOGFILE is set, the secrets of TLS connections go to the file
that it names, for programs that look at traffic.

Exit status: 0 the script ended, 1 it raised at top level (its other threads go on
first), bytes that it had sent did not leave, or something could not be written, 2 usage
or a file that cannot be read, 124 --timeout, 130 Ctrl-C, 143 SIGTERM. Standard output
that cannot be written (a full disk) ends the run, and so does a pipe that nobody reads
any more, which is status 0; without standard error it goes on.
";

pub(super) const ECHO_HELP: &str = "\
Usage: moonwire echo [--port N] [--tls]

Runs a WebSocket echo server on 127.0.0.1 until it is interrupted, and prints its URL.
Over HTTP it has event streams and other answers to try a client on; GET / lists them.

  --port N   listen on this port instead of a free one
  --tls      over TLS, with the certificate that ships for tests; its root is printed
             too, for `moonwire run --ca FILE`
  --help     this text
";

pub(super) const TYPES_HELP: &str = "\
Usage: moonwire types > moonwire.d.luau

Prints the types of everything that a script sees, as a definition file for luau-lsp:
`--definitions=moonwire.d.luau`, or the setting `luau-lsp.types.definitionFiles`.
";
