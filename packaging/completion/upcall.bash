# SPDX-License-Identifier: MIT
# What bash completes behind `upcall`. Loaded by bash-completion, or by hand: . upcall.bash

_upcall() {
    local cur prev i command= at=0
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()

    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} != -* ]]; then
            command=${COMP_WORDS[i]}
            at=$i
            break
        fi
    done
    case $command in
    '')
        COMPREPLY=($(compgen -W 'run doctor version help --help --version' -- "$cur"))
        return
        ;;
    help)
        COMPREPLY=($(compgen -W 'run doctor version help --help' -- "$cur"))
        return
        ;;
    doctor | version)
        COMPREPLY=($(compgen -W '--json --help' -- "$cur"))
        return
        ;;
    run) ;;
    *) return ;;
    esac

    # Behind `run`: our own options, up to the program's name; then whatever the program completes.
    for ((i = at + 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --)
            ((i++))
            break
            ;;
        -n | -o | -t | --vcores | --slice | --grace | --max-acts | --stack | --output | --trace | --trace-buffer)
            ((i++))
            [[ ${COMP_WORDS[i]} == = ]] && ((i++))
            ;;
        -*) ;;
        *) break ;;
        esac
    done
    if ((i < COMP_CWORD)); then
        if declare -F _command_offset >/dev/null; then
            _command_offset "$i"
        else
            COMPREPLY=($(compgen -f -- "$cur"))
        fi
        return
    fi
    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == = ]] && cur=
    case $prev in
    -o | -t | --output | --trace)
        COMPREPLY=($(compgen -f -- "$cur"))
        ;;
    --slice | --grace)
        COMPREPLY=($(compgen -W '500us 1ms 4ms 10ms' -- "$cur"))
        ;;
    --stack | --trace-buffer)
        COMPREPLY=($(compgen -W '64K 256K 1M 4M 16M' -- "$cur"))
        ;;
    -n | --vcores)
        COMPREPLY=($(compgen -W "$(seq "$(nproc)")" -- "$cur"))
        ;;
    --max-acts) ;;
    *)
        if [[ $prev != -- && $cur == -* ]]; then
            COMPREPLY=($(compgen -W '--vcores --slice --no-slice --grace --max-acts --stack
                --shared-tls --io --stats --json --output --trace --trace-buffer --help
                -n -s -o -t -h' -- "$cur"))
        else
            COMPREPLY=($(compgen -c -- "$cur"))
        fi
        ;;
    esac
}

complete -o filenames -F _upcall upcall
