"""The commands. Each reads files, calls a public function of the package and writes its result.

Heavy imports wait inside the functions, so that `bayescale --help` answers at once.

sweep          the commands plan and sweep
import_curves  the command import
fit            the command fit
predict        the commands predict, performance and frontier
decide         the commands allocate and portfolio
next_runs      the command next
recommend      the command recommend
check_design   the command check-design
compare        the command compare
report         the commands report and demo
doctor         the command doctor
"""
