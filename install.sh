#!/bin/sh
# Brings up, shows and ends the servers that the guide and the demo use: a master, its replica and
# three sentinels, all on 127.0.0.1. `sh install.sh help` lists the commands. For POSIX sh, as root or not.
#
# No file of conf/ is ever given to a server, because servers rewrite theirs: a sentinel at once, a
# data server in a failover. They run on copies in the run directory ($RESPOOL_RUN_DIR, else .run/):
#
#   servers                                what was laid out, a line each: kind, port, log
#   redis_PORT.conf, sentinel_PORT.conf    the copies, with their ports and paths; the servers' own
#   redis_PORT.pid, sentinel_PORT.pid      written by the servers
#   redis-PORT.log, redis-sentinel-PORT.log   the logs, where they are not in /var/log
#   lock                                   a symbolic link to the pid of the install.sh at work
#
# How long a copy lives. `start` with none of the five running makes new ones: after `stop`, a failed start
# or a reboot the topology is the one of conf/, with 6379 as the master (there are no data to keep).
# While any of the five runs, the copies are the truth about who is what, so `start` (of those missing)
# and `restart` use them as they are. An old master's copy still says master: it comes back as one, and
# the sentinels make it a replica. `stop` removes the copies and keeps the logs.
#
# What is ours. A process is ended only if its pid is known from our pidfile, or from a server that
# says it runs on our copy, and if its command line and working directory are that server's as well.
#
# Functions with a body in ( ) run in a subshell: it makes their variables local.

set -u
LC_ALL=C
export LC_ALL
unset CDPATH REDISCLI_AUTH

name=localmaster
host=127.0.0.1
default_ports='6379 6380 26379 26380 26381'

# Bounds, in seconds.
answer_limit=2    # one question to one server
launch_limit=10   # from launching a server to its first answer
topology_limit=30 # until replication works and the sentinels know one another; an old master needs about 10
end_limit=5       # from SIGTERM to SIGKILL
lock_limit=90     # for another install.sh to finish

root=$(cd -- "$(dirname -- "$0")" && pwd -P) || exit 1

started='' # the ports this call launched and has to end again if it fails
locked=''

usage() {
  cat <<USAGE
usage: sh $0 [command]

  start [--take-over]  start the five servers, or those of them that are missing (the default);
                       --take-over first stops a Redis service of the system that holds a port
  stop                 end what start started, and only that; the logs stay
  status               show each server; exit status 3 unless all are up
  restart PORT         start one again, on the configuration it had; ends it first if it runs
  help                 this text

environment:

  RESPOOL_PORTS    master, replica and three sentinels; default "$default_ports"
  RESPOOL_RUN_DIR  for configurations, pidfiles and logs; default .run/ beside install.sh, with the
                   logs in /var/log where that can be written to
  RESPOOL_SERVER   the server program; default redis-server, else valkey-server
  RESPOOL_CLI      its command line client; default redis-cli, else valkey-cli
USAGE
}

say() { printf '%s\n' "$*"; }
complain() { printf 'install.sh: %s\n' "$*" >&2; }
fail() {
  complain "$@"
  exit 1
}
misuse() {
  complain "$@"
  exit 2
}

main() {
  command=${1-start}
  [ $# -eq 0 ] || shift
  taking_over=''
  target='' # of a restart
  case $command in
    help | -h | --help)
      usage
      exit 0
      ;;
    start | --take-over)
      [ "$command" = start ] || set -- --take-over "$@"
      command=start
      if [ "${1-}" = --take-over ]; then
        taking_over=yes
        shift
      fi
      ;;
    restart)
      [ $# -gt 0 ] || misuse "restart needs a port: sh $0 restart 6379"
      is_port "$1" || misuse "not a port: '$1'"
      target=$1
      shift
      ;;
    stop | status) ;;
    *) misuse "unknown command '$command' (sh $0 help lists them)" ;;
  esac
  [ $# -eq 0 ] || misuse "$command: unexpected argument '$1'"

  if [ -n "${RESPOOL_PORTS-}" ]; then check_ports "$RESPOOL_PORTS"; fi
  find_programs
  open_run_dir
  if [ ! -d "$run" ] && [ "$command" != status ]; then
    [ "$command" = stop ] || fail "nothing was started here yet: run 'sh $0' first"
    say 'none of our servers runs'
    exit 0
  fi
  trap leave EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  case $command in
    start) lock && start ;;
    stop) lock && stop ;;
    restart) lock && restart "$target" ;;
    status) status ;;
  esac
}

# Whatever ends the script passes here: a start that did not come to its end leaves nothing behind.
leave() {
  code=$?
  trap '' HUP INT TERM
  if [ -n "$started" ]; then
    say "ending what this call started: $started"
    # shellcheck disable=SC2086
    end_servers $started
    if ! any_running; then remove_copies; fi
  fi
  [ -z "$locked" ] || rm -f "$run/lock"
  exit "$code"
}

# ---------------------------------------------------------------------------------------- commands

start() {
  if ! any_running; then
    fresh_topology
  elif [ -n "${RESPOOL_PORTS-}" ] && ! is_same "$RESPOOL_PORTS" "$data $sentinels"; then
    fail "the run directory $run has servers on $data $sentinels: stop them first, or set RESPOOL_RUN_DIR to another"
  fi
  missing=''
  for port in $data $sentinels; do
    pid_of "$port" >/dev/null || missing="$missing $port"
  done
  missing=${missing# }

  if [ -z "$missing" ]; then
    for port in $data $sentinels; do
      answers "$port" || fail "$(describe "$port") runs, but does not answer; 'sh $0 restart $port' replaces it"
    done
    say "all five already run, nothing changed ('sh $0 status' shows them)"
    return
  fi

  # shellcheck disable=SC2086
  claim $missing
  [ -f "$run/servers" ] || remember_topology || fail "cannot write $run/servers"
  say "$("$server" --version | sed 's/ sha=.*//'), run directory $run"

  # Sentinels ask a master for its replicas when they first see it and then only every 10 s. So
  # replication has to stand before they start, or the whole start takes that long.
  # shellcheck disable=SC2086
  launch_those_missing $data
  if [ "$missing" = "$data $sentinels" ]; then await_true replication_flaw; fi
  # shellcheck disable=SC2086
  launch_those_missing $sentinels
  await_true topology_flaw
  started=''

  say "ready: master $host:$(master_port), name $name"
  say ''
  say 'look around:'
  say "  $(basename "$cli") -p ${sentinels%% *} sentinel master $name"
  say "  tail -f $(log_of "${sentinels%% *}")"
  say "  sh $0 status | restart ${data%% *} | stop"
}

stop() {
  for port in $sentinels $data; do
    warn_of_stranger "$port"
  done
  if any_running; then
    # Sentinels first, or they take the rest for a failure.
    # shellcheck disable=SC2086
    end_servers $sentinels && end_servers $data || exit 1
  else
    say 'none of our servers runs'
  fi
  remove_copies
}

restart() {
  case " $data $sentinels " in
    *" $1 "*) ;;
    *) fail "$1 is not one of ours, which are $data $sentinels" ;;
  esac
  [ -f "$run/servers" ] || fail "nothing was started here yet: run 'sh $0' first"
  if pid_of "$1" >/dev/null; then end_servers "$1" || exit 1; fi
  claim "$1"
  launch "$1"
  await_answer "$1"
  started=''
  if is_sentinel "$1"; then return; fi
  role=$(field role "$(ask "$1" INFO replication)")
  master=$(master_port)
  if [ "$role" = master ] && [ -n "$master" ] && [ "$master" != "$1" ]; then
    say "it says master, but the sentinels know $master as that, and in about 10 s make it a replica:"
    # one of them writes it, nobody knows which
    say "  grep -h convert-to-slave $(for sentinel in $sentinels; do printf '%s ' "$(log_of "$sentinel")"; done)"
  fi
}

status() {
  printf '%-6s %-9s %-8s %s\n' PORT ROLE PID STATE
  all_up=yes
  for port in $data $sentinels; do
    role=-
    if is_sentinel "$port"; then role=sentinel; fi
    if ! pid=$(pid_of "$port"); then
      pid=-
      state=down
      is_free "$port" || state="down; the port is taken by $(holder_of "$port")"
    elif ! answers "$port"; then
      state='not answering'
    elif is_sentinel "$port"; then
      state="up, $(sentinel_view "$port")"
    else
      info=$(ask "$port" INFO replication)
      role=$(field role "$info")
      if [ "$role" = master ]; then
        state="up, replicas connected: $(field connected_slaves "$info")"
      else
        role=replica
        state="up, link to master $(field master_host "$info"):$(field master_port "$info")"
        state="$state $(field master_link_status "$info")"
      fi
    fi
    case $state in up,*) ;; *) all_up='' ;; esac
    log=$(log_of "$port")
    printf '%-6s %-9s %-8s %s\n' "$port" "$role" "$pid" "$state${log:+; log $log}"
  done
  [ -n "$all_up" ] || exit 3
}

# ------------------------------------------------------------------------------ ports and programs

is_port() {
  case $1 in
    '' | *[!0-9]* | 0* | ??????*) return 1 ;;
  esac
  [ "$1" -le 65535 ]
}

# Takes five ports in one string, gives the lists `data` (master, replica) and `sentinels`.
check_ports() {
  set -f
  # shellcheck disable=SC2086
  set -- $1
  set +f
  [ $# -eq 5 ] || misuse "RESPOOL_PORTS needs five ports (master, replica, three sentinels) and has $#: '$*'"
  seen=' '
  for port in "$@"; do
    is_port "$port" || misuse "RESPOOL_PORTS: '$port' is not a port (1 to 65535)"
    case $seen in
      *" $port "*) misuse "RESPOOL_PORTS names $port twice" ;;
    esac
    seen="$seen$port "
  done
  data="$1 $2"
  sentinels="$3 $4 $5"
}

# The same words, however they are spaced?
is_same() (
  set -f
  # shellcheck disable=SC2086
  [ "$(printf '%s ' $1)" = "$(printf '%s ' $2)" ]
)

is_sentinel() {
  case " $sentinels " in
    *" $1 "*) return 0 ;;
  esac
  return 1
}

find_programs() {
  server=$(program "${RESPOOL_SERVER-}" RESPOOL_SERVER redis-server valkey-server) || exit 1
  # The client that belongs to the server found, if it is there.
  case $server in
    *valkey-server) cli=$(program "${RESPOOL_CLI-}" RESPOOL_CLI valkey-cli redis-cli) || exit 1 ;;
    *) cli=$(program "${RESPOOL_CLI-}" RESPOOL_CLI redis-cli valkey-cli) || exit 1 ;;
  esac
  for path in "$server" "$cli"; do
    "$path" --version >/dev/null 2>&1 </dev/null || fail "'$path --version' fails: it does not work here"
  done
}

# Usage: program CHOSEN VARIABLE NAME... Prints the path of the one chosen, or of the first name found.
program() (
  chosen=$1
  variable=$2
  shift 2
  if [ -n "$chosen" ]; then
    command -v "$chosen" && exit 0
    fail "$variable: no such program: '$chosen'"
  fi
  for candidate in "$@"; do
    command -v "$candidate" && exit 0
  done
  complain "neither $1 nor $2 is installed. 'npm run setup' installs what is missing, or:"
  cat >&2 <<HOW
  Debian, Ubuntu   apt-get install redis-server
  Fedora, RHEL     dnf install valkey            (older: dnf install redis)
  Alpine           apk add redis                 (or valkey, with valkey-cli)
  Arch             pacman -S valkey
  openSUSE         zypper install redis
  macOS            brew install redis
or name them: RESPOOL_SERVER=/path/to/redis-server RESPOOL_CLI=/path/to/redis-cli
HOW
  exit 1
)

# ---------------------------------------------------------------------------------------- topology

# Sets `run`, and the ports: those of what was laid out there, else those asked for.
open_run_dir() {
  run=${RESPOOL_RUN_DIR:-$root/.run}
  # Only a start has something to put there.
  if [ "$command" = start ]; then
    mkdir -p -- "$run" || fail "cannot make the run directory $run; RESPOOL_RUN_DIR names another"
  fi
  if [ -d "$run" ]; then
    run=$(cd -- "$run" && pwd -P) || fail "cannot enter the run directory $run"
    if [ "$command" != status ] && [ ! -w "$run" ]; then
      fail "cannot write to the run directory $run; RESPOOL_RUN_DIR names another"
    fi
  fi
  case $run in
    *'
'*) fail 'the run directory has a line break in its name' ;;
  esac
  asked=${RESPOOL_PORTS:-$default_ports}
  if [ -f "$run/servers" ]; then
    check_ports "$(sed 's/^[a-z]* \([0-9]*\) .*/\1/' "$run/servers")"
  else
    check_ports "$asked"
  fi
}

# Forgets what was laid out before: the ports asked for count again.
fresh_topology() {
  remove_copies
  check_ports "$asked"
}

remember_topology() (
  for port in $data $sentinels; do
    case $port in
      "${data%% *}") kind=master ;;
      "${data##* }") kind=replica ;;
      *) kind=sentinel ;;
    esac
    printf '%s %s %s\n' "$kind" "$port" "$(choose_log "$port")"
  done >"$run/servers.new" && mv "$run/servers.new" "$run/servers"
)

remove_copies() {
  [ -d "$run" ] || return 0
  for stem in $(stems); do
    rm -f "$run/$stem.conf" "$run/$stem.pid" "$run/$stem.out" "$run/$stem.rdb"
  done
  rm -f "$run/servers"
}

stems() (
  for port in $data $sentinels; do
    stem "$port"
  done
)

# The base of the names of a server's files.
stem() {
  if is_sentinel "$1"; then echo "sentinel_$1"; else echo "redis_$1"; fi
}

# /var/log has them for everyone to find; a run directory that was asked for keeps them to itself.
choose_log() (
  log=redis-$1.log
  if is_sentinel "$1"; then log=redis-sentinel-$1.log; fi
  # `true`, because with `:`, a special built-in, a failed redirection ends the shell.
  if [ -z "${RESPOOL_RUN_DIR-}" ] && { true >>"/var/log/$log"; } 2>/dev/null; then
    echo "/var/log/$log"
  else
    echo "$run/$log"
  fi
)

log_of() (
  [ ! -f "$run/servers" ] || sed -n "s/^[a-z]* $1 //p" "$run/servers"
)

# Copies the file of conf/ that a port stands for, with the ports of this topology.
copy_conf() (
  # shellcheck disable=SC2086
  set -- "$1" $data $sentinels
  case $1 in
    "$2") source=redis_6379 ;;
    "$3") source=redis_6380 ;;
    "$4") source=sentinel_26379 ;;
    "$5") source=sentinel_26380 ;;
    *) source=sentinel_26381 ;;
  esac
  copy=$run/$(stem "$1").conf
  {
    sed -e "s/^port .*/port $1/" \
      -e "s/^dbfilename .*/dbfilename $(stem "$1").rdb/" \
      -e "s/^replicaof .*/replicaof $host $2/" \
      -e "s/^sentinel monitor .*/sentinel monitor $name $host $2 2/" \
      "$root/conf/$source.conf" &&
      cat <<CONF

# Added by install.sh.
daemonize yes
pidfile $(quoted "$run/$(stem "$1").pid")
logfile $(quoted "$(log_of "$1")")
dir $(quoted "$run")
CONF
  } >"$copy.new" && mv "$copy.new" "$copy"
)

quoted() { printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"; }

# ------------------------------------------------------------------------------- asking the servers

# A hung server accepts a connection and is silent: no question without a bound.
if command -v timeout >/dev/null 2>&1; then
  bounded() { timeout "$answer_limit" "$@"; }
else
  bounded() (
    "$@" &
    asked=$!
    (
      sleep "$answer_limit"
      kill "$asked"
    ) >/dev/null 2>&1 &
    guard=$!
    wait "$asked"
    kill "$guard" 2>/dev/null
  )
fi

# Usage: ask PORT COMMAND... Prints the reply, or the client's complaint.
ask() (
  port=$1
  shift
  bounded "$cli" -h "$host" -p "$port" "$@" </dev/null 2>&1 | tr -d '\r'
)

answers() { [ "$(ask "$1" PING)" = PONG ]; }

# Usage: field NAME INFO
field() { printf '%s\n' "$2" | sed -n "s/^$1://p"; }

# The master that the sentinels know, asking the first that answers.
master_port() (
  for port in $sentinels; do
    known=$(ask "$port" INFO sentinel | sed -n "s/^master[0-9]*:name=$name,.*,address=$host:\([0-9]*\),.*/\1/p")
    if [ -n "$known" ]; then
      echo "$known"
      exit
    fi
  done
)

sentinel_view() (
  view=$(ask "$1" INFO sentinel | sed -n "s/^master[0-9]*:name=$name,//p")
  echo "$name: ${view:-unknown}" | sed 's/,/, /g; s/=/ /g'
)

# What keeps replication from working, empty when nothing does. No role is taken for granted: after a
# failover the second server is the master.
replication_flaw() (
  masters=''
  replica=''
  for port in $data; do
    info=$(ask "$port" INFO replication)
    case $(field role "$info") in
      master)
        masters="$masters $port"
        master_info=$info
        ;;
      slave)
        replica=$port
        replica_info=$info
        ;;
      *)
        echo "$port does not answer"
        exit
        ;;
    esac
  done
  # shellcheck disable=SC2086
  set -- $masters
  if [ $# -ne 1 ]; then
    echo "of $data, $# are masters"
  elif [ "$(field master_port "$replica_info")" != "$1" ]; then
    echo "$replica is not a replica of $1"
  elif [ "$(field master_link_status "$replica_info")" != up ]; then
    echo "the link of $replica to its master $1 is not up"
  else
    case $master_info in
      *",port=$replica,state=online,"*) ;;
      *) echo "$1 does not list $replica as online" ;;
    esac
  fi
)

topology_flaw() (
  flaw=$(replication_flaw)
  if [ -n "$flaw" ]; then
    echo "$flaw"
    exit
  fi
  for port in $data; do
    if [ "$(field role "$(ask "$port" INFO replication)")" = master ]; then master=$port; fi
  done
  for port in $sentinels; do
    view=$(ask "$port" INFO sentinel)
    case $view in
      # `slaves` are the master's replicas, `sentinels` counts the one that speaks too.
      *":name=$name,status=ok,address=$host:${master-},slaves=1,sentinels=3"*) ;;
      *)
        echo "sentinel $port does not see master ${master-}, one replica and two other sentinels yet: $(sentinel_view "$port")"
        exit
        ;;
    esac
  done
)

now() { date +%s; }

# Fractions of a second are not in POSIX, but nearly everywhere.
nap() { sleep 0.1 2>/dev/null || sleep 1; }

# Waits until the function prints nothing.
await_true() {
  limit=$(($(now) + topology_limit))
  while flaw=$("$1") && [ -n "$flaw" ]; do
    if [ "$(now)" -ge "$limit" ]; then
      complain "after $topology_limit s: $flaw"
      for port in $data $sentinels; do
        case $flaw in
          *"$port"*) show_log "$port" ;;
        esac
      done
      exit 1
    fi
    nap
  done
}

show_log() {
  log=$(log_of "$1")
  if [ -s "$run/$(stem "$1").out" ]; then
    complain "$1 said:"
    tail -n 5 "$run/$(stem "$1").out" >&2
  fi
  if [ -s "$log" ]; then
    complain "the end of $log:"
    tail -n 10 "$log" >&2
  fi
}

# --------------------------------------------------------------------------------------- processes

# The command line of a process; nothing for one that is gone, or dead and not yet reaped.
title_of() (
  if [ -d /proc/self ]; then
    { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null
  else
    ps -o command= -p "$1" 2>/dev/null
  fi
)

# Is this process our server of this port? Servers make `redis-server 127.0.0.1:6379` of their command
# line, or leave it as it was, with the path of our copy; and the run directory is where they work.
# Whose directory may not be read is not a process that we could end.
is_server() (
  case $1 in
    '' | *[!0-9]*) exit 1 ;;
  esac
  case "$(title_of "$1") " in
    *"$host:$2 "* | *"$run/$(stem "$2").conf "*) ;;
    *) exit 1 ;;
  esac
  cwd=$(readlink "/proc/$1/cwd" 2>/dev/null)
  [ -z "$cwd" ] || [ "$cwd" = "$run" ]
)

recorded_pid() (
  pid=''
  if [ -r "$run/$(stem "$1").pid" ]; then read -r pid <"$run/$(stem "$1").pid"; fi
  printf '%s' "$pid"
)

# Prints the pid of our server of this port, if it runs.
pid_of() (
  pid=$(recorded_pid "$1")
  if ! is_server "$pid" "$1"; then
    # Without a pidfile, say of a run directory that was emptied, the server itself knows.
    info=$(ask "$1" INFO server)
    [ "$(field config_file "$info")" = "$run/$(stem "$1").conf" ] || exit 1
    pid=$(field process_id "$info")
    is_server "$pid" "$1" || exit 1
  fi
  echo "$pid"
)

any_running() (
  for port in $data $sentinels; do
    pid_of "$port" >/dev/null && exit 0
  done
  exit 1
)

warn_of_stranger() (
  pid=$(recorded_pid "$1")
  title=$(title_of "${pid:-none}")
  if [ -n "$title" ] && ! is_server "$pid" "$1"; then
    say "$1: the pidfile is out of date, $pid is another process now ($(printf %.40s "$title")): left alone"
  fi
)

describe() {
  if is_sentinel "$1"; then echo "sentinel $1 (pid $(pid_of "$1"))"; else echo "server $1 (pid $(pid_of "$1"))"; fi
}

launch_those_missing() {
  for port in "$@"; do
    case " $missing " in
      *" $port "*) launch "$port" ;;
    esac
  done
  for port in "$@"; do
    case " $missing " in
      *" $port "*) await_answer "$port" ;;
    esac
  done
}

launch() {
  conf=$run/$(stem "$1").conf
  if [ ! -f "$conf" ]; then copy_conf "$1" || fail "cannot write $conf"; fi
  rm -f "$run/$(stem "$1").pid"
  started="$started${started:+ }$1"
  set -- "$1" "$conf"
  if is_sentinel "$1"; then set -- "$@" --sentinel; fi
  port=$1
  shift
  if ! "$server" "$@" </dev/null >"$run/$(stem "$port").out" 2>&1; then
    complain "$port did not start"
    show_log "$port"
    exit 1
  fi
}

await_answer() {
  limit=$(($(now) + launch_limit))
  until pid_of "$1" >/dev/null && answers "$1"; do
    if [ "$(now)" -ge "$limit" ]; then
      complain "$1 does not answer $launch_limit s after its start"
      show_log "$1"
      exit 1
    fi
    nap
  done
  say "started $(describe "$1"), log $(log_of "$1")"
}

# Ends our servers of these ports, politely at first. Fails when one of them is still there.
end_servers() {
  left=''
  for port in "$@"; do
    if pid=$(pid_of "$port"); then
      if ! kill -TERM "$pid"; then
        complain "cannot end $port (pid $pid)"
        return 1
      fi
      left="$left $port:$pid"
    fi
  done
  limit=$(($(now) + end_limit))
  hard=''
  while [ -n "$left" ]; do
    still=''
    for one in $left; do
      port=${one%%:*}
      pid=${one##*:}
      if ! is_server "$pid" "$port"; then
        say "ended $port (pid $pid${hard:+, with SIGKILL})"
      else
        still="$still $one"
        # A stopped process only notes SIGTERM for later; SIGKILL ends it without its help.
        if [ -n "$hard" ]; then kill -KILL "$pid" 2>/dev/null; fi
      fi
    done
    left=$still
    [ -n "$left" ] || break
    if [ "$(now)" -ge "$limit" ]; then
      if [ -n "$hard" ]; then
        complain "still there after SIGKILL (port:pid):$left"
        return 1
      fi
      hard=yes
      limit=$(($(now) + end_limit))
    fi
    nap
  done
}

# ------------------------------------------------------------------------------------- taken ports

is_free() {
  case $(ask "$1" PING) in
    *'Connection refused'*) return 0 ;;
  esac
  return 1
}

# Makes sure that these ports are free, before anything is started on any of them.
claim() {
  taken=''
  for port in "$@"; do
    is_free "$port" || taken="$taken $port"
  done
  if [ -n "$taken" ] && [ -n "$taking_over" ]; then
    # shellcheck disable=SC2086
    take_over $taken
    taken=''
  fi
  [ -n "$taken" ] || return 0

  services=''
  for port in $taken; do
    holder=$(holder_of "$port")
    complain "port $port is taken by $holder"
    if how=$(stop_command "$port"); then
      services="$services $port"
      complain "  a service of this system; '$how' stops it"
    fi
  done
  [ "$command" = start ] || exit 1
  if [ "$services" = "$taken" ]; then
    complain "'sh $0 start --take-over' does that for you; or choose other ports:"
  else
    complain 'end it, or choose other ports:'
  fi
  complain "  RESPOOL_PORTS='16379 16380 36379 36380 36381' sh $0"
  exit 1
}

# What holds a port, for people to read.
holder_of() (
  find_holder "$1"
  if [ -z "$holder_pid$holder_name" ]; then
    echo "an unknown process${holder_user:+ of user $holder_user}"
  else
    echo "$holder_name (pid $holder_pid${holder_user:+, user $holder_user})"
  fi
)

# Sets holder_pid, holder_name and holder_user, each empty where this user may not know it.
find_holder() {
  holder_pid=''
  holder_name=''
  holder_user=''
  if [ -d /proc/self ]; then
    # The listening socket (state 0A) on 127.0.0.1 (in either byte order), on all addresses, or on both
    # as IPv6 writes them: its owner and inode. Then the process that has this inode open.
    socket=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf '%04X' "$1")" '
      { split($2, at, ":") }
      $4 == "0A" && at[2] == port && at[1] ~ /^(0+|(0+FFFF0000)?0100007F|(0+FFFF)?7F000001)$/ {
        print $8, $10
        exit
      }')
    if [ -n "$socket" ]; then
      holder_user=$(awk -F: -v id="${socket% *}" '$3 == id { print $1; exit }' /etc/passwd 2>/dev/null)
      # shellcheck disable=SC2012 # numbers and sockets are all there is in these directories
      holder_pid=$(ls -l /proc/[0-9]*/fd 2>/dev/null | awk -v socket="socket:[${socket#* }]" '
        /^\/proc\// { split($0, part, "/"); pid = part[3] }
        $NF == socket { print pid; exit }')
      # What another user's process has open is not for everyone to see, but the command line is, and a
      # Redis has its port there.
      if [ -z "$holder_pid" ]; then
        # shellcheck disable=SC2013 # no spaces in these paths
        for path in $(grep -lE "(redis|valkey)[^ ]* [^ ]*:$1([^0-9]|$)" /proc/[0-9]*/cmdline 2>/dev/null); do
          path=${path%/cmdline}
          # shellcheck disable=SC2012
          if [ "$(ls -nd "$path" 2>/dev/null | awk '{ print $3 }')" = "${socket% *}" ]; then holder_pid=${path#/proc/}; fi
        done
      fi
    fi
  elif command -v lsof >/dev/null 2>&1; then
    holder_pid=$(lsof -nP -t -iTCP:"$1" -sTCP:LISTEN 2>/dev/null | head -n 1)
  fi
  [ -n "$holder_pid" ] || return 0
  if [ -r "/proc/$holder_pid/comm" ]; then
    holder_name=$(cat "/proc/$holder_pid/comm")
  else
    holder_name=$(basename "$(ps -o comm= -p "$holder_pid" 2>/dev/null)")
    holder_user=$(ps -o user= -p "$holder_pid" 2>/dev/null)
  fi
}

# Prints the command that ends the holder of a port, if the holder is a Redis or Valkey that belongs to the
# system: run by its service manager, or by the user that packages make for it. Nothing else is ours
# to stop.
stop_command() (
  find_holder "$1"
  case $holder_name in
    redis-server | redis-sentinel | valkey-server | valkey-sentinel) ;;
    *) exit 1 ;;
  esac
  # systemd keeps the processes of a unit in a control group of that name.
  unit=$(sed -n 's|.*/system\.slice/\(.*/\)*\([^/]*\)\.service$|\2|p' "/proc/$holder_pid/cgroup" 2>/dev/null | head -n 1)
  case $unit in
    redis* | valkey*)
      echo "systemctl stop $unit"
      exit 0
      ;;
  esac
  if [ "$(uname)" = Darwin ] && command -v brew >/dev/null 2>&1; then
    formula=$(brew services list 2>/dev/null | awk '$1 ~ /^(redis|valkey)/ && $2 == "started" { print $1; exit }')
    if [ -n "$formula" ]; then
      echo "brew services stop $formula"
      exit 0
    fi
  fi
  case $holder_user in
    redis | valkey | _redis | _valkey) ;;
    *) exit 1 ;;
  esac
  # shellcheck disable=SC2030 # local as it should be; take_over does the same for itself
  PATH=$PATH:/usr/sbin:/sbin
  for service in "$holder_name" "${holder_name%%-*}"; do
    [ -x "/etc/init.d/$service" ] || continue
    if command -v rc-service >/dev/null 2>&1; then
      echo "rc-service $service stop"
      exit 0
    elif command -v service >/dev/null 2>&1; then
      echo "service $service stop"
      exit 0
    fi
  done
  # Nobody manages it. A plain SHUTDOWN saves what it is configured to save: its data are not ours.
  echo "$cli -h $host -p $1 shutdown"
)

# Stops the services that hold these ports; does nothing at all if one of them is not a service. They stay
# enabled: what comes back at the next boot is the owner's decision.
take_over() {
  for port in "$@"; do
    stop_command "$port" >/dev/null ||
      fail "port $port is taken by $(holder_of "$port"), which is no Redis service of this system: not stopped"
  done
  for port in "$@"; do
    # One service may have held two ports.
    is_free "$port" && continue
    how=$(stop_command "$port") || fail "port $port has changed hands, start again"
    case $how in
      systemctl* | service* | rc-service*)
        if [ "$(id -u)" -ne 0 ]; then
          command -v sudo >/dev/null 2>&1 || fail "'$how' needs root, and there is no sudo: run it as root"
          how="sudo $how"
        fi
        ;;
    esac
    say "port $port: $how"
    # shellcheck disable=SC2031
    PATH=$PATH:/usr/sbin:/sbin sh -c "$how" || fail "'$how' failed"
    limit=$(($(now) + launch_limit))
    until is_free "$port"; do
      [ "$(now)" -lt "$limit" ] ||
        fail "port $port is still taken by $(holder_of "$port") $launch_limit s after '$how': does something restart it?"
      nap
    done
  done
}

# -------------------------------------------------------------------------------------------- lock

# One install.sh at a time to a run directory. A symbolic link is made at once with the pid in it, so
# that a lock without an owner cannot be seen.
lock() {
  limit=$(($(now) + lock_limit))
  told=''
  until ln -s "$$" "$run/lock" 2>/dev/null; do
    owner=$(readlink "$run/lock")
    case $(title_of "${owner:-none}") in
      *install.sh*)
        [ -n "$told" ] || say "waiting for another install.sh (pid $owner)"
        told=yes
        ;;
      # Its owner died without clearing up. Only one of those who see that may remove it, and only if
      # it is still the same lock.
      *)
        if mkdir "$run/lock.stale" 2>/dev/null; then
          if [ "$(readlink "$run/lock")" = "$owner" ]; then rm -f "$run/lock"; fi
          rmdir "$run/lock.stale"
        fi
        ;;
    esac
    [ "$(now)" -lt "$limit" ] || fail "another install.sh holds $run/lock; if there is none, remove that and lock.stale"
    nap
  done
  locked=yes
}

main "$@"
